namespace Antiphon.Kernels;

/// <summary>A form of activations that kernels read, made of one group of rows after another, in any order.</summary>
internal interface IInputForm
{
    /// <summary>Rows of a group.</summary>
    const int GroupRows = 16;

    /// <summary>Makes a group's part.</summary>
    /// <param name="x">The rows.</param>
    /// <param name="group">Which group.</param>
    /// <param name="worker">Who makes it.</param>
    void Convert(Activations x, int group, int worker);
}
