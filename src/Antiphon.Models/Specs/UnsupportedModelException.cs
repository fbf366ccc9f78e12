namespace Antiphon.Models;

/// <summary>A well-formed model that this version cannot run: an architecture, a RoPE scaling or a storage scheme that it does not know.</summary>
public sealed class UnsupportedModelException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="feature">What is not supported, by its name in the file: <c>model_type 'xyz'</c>.</param>
    public UnsupportedModelException(string feature)
        : base($"{feature} is not supported by this version of Antiphon")
    {
        Feature = feature;
    }

    /// <summary>What is not supported.</summary>
    public string Feature { get; }
}
