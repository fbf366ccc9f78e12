namespace Antiphon.Kernels.Packed;

/// <summary>The packed weights of a matrix: there from the start, or from when a <see cref="PackingQueue"/> has come to them.</summary>
/// <param name="place">Where they are or will be.</param>
/// <param name="owner">Keeps that memory; it lives as long as this object.</param>
internal sealed unsafe class PackedStrips(byte* place, object owner)
{
    private volatile PackingQueue? queue;

    /// <summary>Their place, packed or not.</summary>
    public byte* Place => place;

    /// <summary>Keeps the memory.</summary>
    public object Owner => owner;

    /// <summary>The first strip, once all are packed.</summary>
    /// <exception cref="ObjectDisposedException">The queue was disposed before it came to them.</exception>
    public byte* Packed
    {
        get
        {
            queue?.Await(this);
            return place;
        }
    }

    /// <summary>Who is still to pack them; null: they are packed.</summary>
    public PackingQueue? Queue
    {
        get => queue;
        set => queue = value;
    }
}
