using System.Runtime.InteropServices;
using Antiphon.Engine;

namespace Antiphon.Conformance.EndToEnd;

/// <summary>A mask that forbids nothing and notes a hash of all logits from which each token is chosen.</summary>
internal sealed class LogitsWitness : ILogitsMask
{
    public List<ulong> Hashes { get; } = [];

    public bool IsComplete => false;

    public void Apply(Span<float> logits)
    {
        ulong hash = 14695981039346656037;
        foreach (uint bits in MemoryMarshal.Cast<float, uint>(logits))
        {
            hash = (hash ^ bits) * 1099511628211;
        }

        Hashes.Add(hash);
    }

    public void Accept(int token)
    {
    }

    public void Dispose()
    {
    }
}
