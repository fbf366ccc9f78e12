namespace Antiphon.Kernels;

/// <summary>The nonlinear functions of feed-forward layers.</summary>
public enum Activation
{
    /// <summary>x / (1 + e^-x).</summary>
    Silu,

    /// <summary>x times the normal distribution function, by the error function.</summary>
    Gelu,

    /// <summary>GELU in its tanh form.</summary>
    GeluTanh,

    /// <summary>max(x, 0).</summary>
    Relu,

    /// <summary>max(x, 0) squared.</summary>
    ReluSquared,

    /// <summary>1 / (1 + e^-x).</summary>
    Sigmoid,
}
