using System.Numerics;

namespace Antiphon.Models;

/// <summary>
/// The metadata of a GGUF file: keys and values in file order. It owns its bytes and stays valid when the file is closed.
/// Getters without <c>Try</c> throw a <see cref="ModelFormatException"/> that names the key when it is absent; all getters throw one when
/// the value has another type or is out of range. Integers of any width are taken where they fit, since writers differ.
/// </summary>
public sealed class GgufMetadata
{
    private readonly Dictionary<string, GgufValue> values;
    private readonly string path;

    /// <summary>Collects metadata.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="entries">Keys and values; no key twice.</param>
    public GgufMetadata(string path, IReadOnlyList<KeyValuePair<string, GgufValue>> entries)
    {
        ArgumentNullException.ThrowIfNull(entries);
        this.path = path;
        Entries = entries;
        values = new(entries, StringComparer.Ordinal);
    }

    /// <summary>All keys and values, in file order.</summary>
    public IReadOnlyList<KeyValuePair<string, GgufValue>> Entries { get; }

    /// <summary>Whether a key is there.</summary>
    public bool Contains(string key) => values.ContainsKey(key);

    /// <summary>The value of a key, of whatever type.</summary>
    public bool TryGetValue(string key, out GgufValue value) => values.TryGetValue(key, out value);

    /// <summary>The value of a key, of whatever type.</summary>
    public GgufValue GetValue(string key) => values.TryGetValue(key, out GgufValue value) ? value : throw Missing(key);

    /// <summary>An integer that fits in <see cref="uint"/>.</summary>
    public uint GetUInt32(string key) => Integer<uint>(key, GetValue(key));

    /// <summary>An integer that fits in <see cref="int"/>.</summary>
    public int GetInt32(string key) => Integer<int>(key, GetValue(key));

    /// <summary>An integer that fits in <see cref="ulong"/>.</summary>
    public ulong GetUInt64(string key) => Integer<ulong>(key, GetValue(key));

    /// <summary>An integer that fits in <see cref="long"/>.</summary>
    public long GetInt64(string key) => Integer<long>(key, GetValue(key));

    /// <summary>A float of either width, or an integer.</summary>
    public float GetSingle(string key) => (float)Float(key, GetValue(key));

    /// <summary>A float of either width, or an integer.</summary>
    public double GetDouble(string key) => Float(key, GetValue(key));

    /// <summary>A truth value.</summary>
    public bool GetBoolean(string key) => Boolean(key, GetValue(key));

    /// <summary>A string, exactly as in the file: not normalised, not trimmed.</summary>
    public string GetString(string key) => Text(key, GetValue(key));

    /// <summary>An integer that fits in <see cref="uint"/>; false when the key is absent.</summary>
    public bool TryGetUInt32(string key, out uint value) => TryGet(key, Integer<uint>, out value);

    /// <summary>An integer that fits in <see cref="int"/>; false when the key is absent.</summary>
    public bool TryGetInt32(string key, out int value) => TryGet(key, Integer<int>, out value);

    /// <summary>An integer that fits in <see cref="ulong"/>; false when the key is absent.</summary>
    public bool TryGetUInt64(string key, out ulong value) => TryGet(key, Integer<ulong>, out value);

    /// <summary>An integer that fits in <see cref="long"/>; false when the key is absent.</summary>
    public bool TryGetInt64(string key, out long value) => TryGet(key, Integer<long>, out value);

    /// <summary>A float of either width, or an integer; false when the key is absent.</summary>
    public bool TryGetSingle(string key, out float value)
    {
        bool found = TryGet(key, Float, out double wide);
        value = (float)wide;
        return found;
    }

    /// <summary>A truth value; false when the key is absent.</summary>
    public bool TryGetBoolean(string key, out bool value) => TryGet(key, Boolean, out value);

    /// <summary>A string; false when the key is absent.</summary>
    public bool TryGetString(string key, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out string? value) => TryGet(key, Text, out value);

    /// <summary>An array of integers of any width, each of which fits in <see cref="int"/>.</summary>
    public int[] GetInt32Array(string key) => Items(key, Integer<int>);

    /// <summary>An array of integers of any width, each of which fits in <see cref="long"/>.</summary>
    public long[] GetInt64Array(string key) => Items(key, Integer<long>);

    /// <summary>An array of floats of either width, or of integers.</summary>
    public float[] GetSingleArray(string key) => Items(key, (k, v) => (float)Float(k, v));

    /// <summary>An array of truth values.</summary>
    public bool[] GetBooleanArray(string key) => Items(key, Boolean);

    /// <summary>An array of strings, exactly as in the file.</summary>
    public string[] GetStringArray(string key) => Items(key, Text);

    /// <summary>An array of strings as bytes, for vocabularies whose entries need not be UTF-8.</summary>
    public ReadOnlyMemory<byte>[] GetUtf8Array(string key) =>
        Items(key, (k, v) => v.TryGetUtf8(out ReadOnlyMemory<byte> bytes) ? bytes : throw WrongType(k, v, "a string"));

    private T Integer<T>(string key, GgufValue value)
        where T : IBinaryInteger<T>, IMinMaxValue<T>
    {
        if (!value.TryGetInteger(out Int128 integer))
        {
            throw WrongType(key, value, "an integer");
        }

        if (integer < Int128.CreateChecked(T.MinValue) || integer > Int128.CreateChecked(T.MaxValue))
        {
            throw new ModelFormatException($"{path}: metadata '{key}' is {integer}, outside {T.MinValue} to {T.MaxValue}; the file was written wrongly: convert the model again");
        }

        return T.CreateTruncating(integer);
    }

    private double Float(string key, GgufValue value) =>
        value.TryGetFloat(out double number) ? number
        : value.TryGetInteger(out Int128 integer) ? (double)integer
        : throw WrongType(key, value, "a number");

    private bool Boolean(string key, GgufValue value) => value.TryGetBoolean(out bool truth) ? truth : throw WrongType(key, value, "a boolean");

    private string Text(string key, GgufValue value) =>
        value.TryGetString(out string? text) ? text
        : value.Type == GgufValueType.String ? throw new ModelFormatException($"{path}: metadata '{key}' is not UTF-8 text; the file was written wrongly: convert the model again")
        : throw WrongType(key, value, "a string");

    private bool TryGet<T>(string key, Func<string, GgufValue, T> convert, [System.Diagnostics.CodeAnalysis.MaybeNullWhen(false)] out T value)
    {
        bool found = values.TryGetValue(key, out GgufValue raw);
        value = found ? convert(key, raw) : default;
        return found;
    }

    private T[] Items<T>(string key, Func<string, GgufValue, T> convert)
    {
        GgufValue value = GetValue(key);
        if (value.Type != GgufValueType.Array)
        {
            throw WrongType(key, value, "an array");
        }

        var items = new T[value.Count];
        int i = 0;
        foreach (GgufValue item in value.Elements())
        {
            items[i++] = convert(key, item);
        }

        return items;
    }

    private ModelFormatException Missing(string key) =>
        new($"{path}: metadata '{key}' is missing; the file is incomplete for this use: convert the model again with a current converter");

    private ModelFormatException WrongType(string key, GgufValue value, string wanted) =>
        new($"{path}: metadata '{key}' holds {value.Type}, but {wanted} is needed; convert the model again with a current converter");
}
