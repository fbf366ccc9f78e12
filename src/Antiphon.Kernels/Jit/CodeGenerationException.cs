namespace Antiphon.Kernels.Jit;

/// <summary>This process may not make machine code of its own, or not use what that code needs. Callers fall back to kernels without generated code.</summary>
public sealed class CodeGenerationException : Exception
{
    /// <summary>A refusal, with what the system said.</summary>
    public CodeGenerationException(string message)
        : base(message)
    {
    }

    /// <summary>A refusal with its cause.</summary>
    public CodeGenerationException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    /// <summary>A refusal without a reason.</summary>
    public CodeGenerationException()
    {
    }
}
