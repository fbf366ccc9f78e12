namespace Antiphon.Models;

/// <summary>Where the recurrent state of each layer lies in a sequence's block of floats: first its matrices, then the inputs that its convolution still sees.</summary>
internal sealed class RecurrentLayout
{
    private readonly long[] offsets;

    private RecurrentLayout(long[] offsets, long floats)
    {
        this.offsets = offsets;
        Floats = floats;
    }

    /// <summary>Floats of a whole state.</summary>
    public long Floats { get; }

    /// <summary>The layout for a model, or null when it has no recurrent layers.</summary>
    public static RecurrentLayout? Of(ModelSpec spec)
    {
        long floats = 0;
        long[] offsets = new long[spec.Layers.Count];
        for (int i = 0; i < offsets.Length; i++)
        {
            offsets[i] = floats;
            if (spec.Layers[i].Mixer is GatedDeltaNetSpec net)
            {
                floats = checked(floats + MatrixFloats(net) + TailFloats(net));
            }
        }

        return floats == 0 ? null : new RecurrentLayout(offsets, floats);
    }

    /// <summary>Where a layer's matrices [value heads, key size, value size] begin.</summary>
    public long Matrices(int layer) => offsets[layer];

    /// <summary>Where a layer's last convolution inputs [taps − 1, channels], oldest first, begin.</summary>
    public long Tail(int layer, GatedDeltaNetSpec net) => offsets[layer] + MatrixFloats(net);

    public static long MatrixFloats(GatedDeltaNetSpec net) => (long)net.ValueHeads * net.KeySize * net.ValueSize;

    public static long TailFloats(GatedDeltaNetSpec net) => (net.ConvolutionWidth - 1L) * net.Channels;
}
