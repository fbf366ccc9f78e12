using System.Text.RegularExpressions;

namespace Antiphon.Models;

/// <summary>Finds out what a path holds and opens it.</summary>
public static partial class ModelFiles
{
    /// <summary>
    /// Opens a .gguf file, any part of a split one, a Hugging Face folder, or a folder with one GGUF model.
    /// A folder with both safetensors and GGUF counts as a Hugging Face folder.
    /// </summary>
    /// <exception cref="ModelFormatException">There is no model at the path, or it is damaged.</exception>
    public static ModelSource Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return Directory.Exists(path) ? OpenFolder(path)
            : File.Exists(path) ? OpenFile(path)
            : throw new ModelFormatException($"{path}: there is no such file or folder; check the path");
    }

    private static ModelSource OpenFolder(string path)
    {
        string[] ggufs;
        bool hasConfig = File.Exists(Path.Combine(path, "config.json"));
        try
        {
            if (hasConfig && HuggingFaceFolder.HasWeights(path))
            {
                return HuggingFaceFolder.Open(path);
            }

            ggufs = [.. Directory.GetFiles(path, "*.gguf").Where(f => LaterPart().Match(f) is not { Success: true } match || match.Groups[1].Value == "00001").Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelFormatException($"{path}: the folder cannot be read ({e.Message}); check that you may read it", e);
        }

        if (ggufs.Length == 1)
        {
            return GgufFile.Open(ggufs[0]);
        }

        if (ggufs.Length > 1)
        {
            throw new ModelFormatException($"{path}: the folder has {ggufs.Length} GGUF models; name one, such as {ggufs[0]}");
        }

        if (File.Exists(Path.Combine(path, "adapter_config.json")))
        {
            throw new ModelFormatException($"{path}: the folder holds an adapter, not a model; open its base model and give this folder as an adapter");
        }

        // Without config.json or without weights: the folder's own opening says which.
        return HuggingFaceFolder.Open(path);
    }

    private static GgufFile OpenFile(string path)
    {
        Span<byte> magic = stackalloc byte[9];
        try
        {
            using FileStream stream = File.OpenRead(path);
            magic = magic[..stream.ReadAtLeast(magic, magic.Length, throwOnEndOfStream: false)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelFormatException($"{path}: cannot be read ({e.Message}); check that you may read it", e);
        }

        if (magic.StartsWith("GGUF"u8))
        {
            return GgufFile.Open(path);
        }

        string what =
            magic.IsEmpty ? "is empty; fetch it again"
            : magic.StartsWith("PK\x03\x04"u8) || magic is [0x80, >= 2 and <= 5, ..] ? "is a pickled PyTorch checkpoint, which can run code and is not read; fetch or convert to safetensors or GGUF"
            : magic is [_, _, _, _, _, _, _, _, (byte)'{'] ? "is a safetensors file; give the folder that holds it together with config.json"
            : magic.StartsWith("version h"u8) ? "is a Git LFS pointer, not the model; fetch the file itself (git lfs pull)"
            : magic.StartsWith("lmgg"u8) || magic.StartsWith("fmgg"u8) || magic.StartsWith("tjgg"u8) ? "is in a format older than GGUF; convert the model again with a current converter"
            : magic[0] is (byte)'{' or (byte)'<' ? "is text, not a model; if it was downloaded, look into it for an error message"
            : "is no model file that is known here; give a .gguf file or a Hugging Face folder";
        throw new ModelFormatException($"{path}: the file {what}");
    }

    [GeneratedRegex(@"-([0-9]{5})-of-[0-9]{5}\.gguf$", RegexOptions.CultureInvariant)]
    private static partial Regex LaterPart();
}
