namespace Antiphon.Engine;

/// <summary>
/// Which tokens a choice may take next: the seam of grammars and schemas. One object belongs to one choice and is used on the engine thread only.
/// An exception from it fails its request and no other.
/// </summary>
public interface ILogitsMask : IDisposable
{
    /// <summary>Whether nothing can follow: the choice ends with <see cref="FinishReason.Stop"/>.</summary>
    bool IsComplete { get; }

    /// <summary>Sets the logits of forbidden tokens to minus infinity. End tokens are allowed or forbidden like all others.</summary>
    /// <param name="logits">[vocabulary].</param>
    void Apply(Span<float> logits);

    /// <summary>Tells which token was taken.</summary>
    void Accept(int token);
}
