using System.Text.Json;
using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Turns model files into something that runs.</summary>
public static class ModelLoader
{
    /// <summary>Loads a GGUF file or a Hugging Face folder.</summary>
    /// <exception cref="ModelFormatException">The files are damaged or do not belong together.</exception>
    /// <exception cref="UnsupportedModelException">The architecture or the way of storage is not known.</exception>
    public static LoadedModel Load(string path, ModelLoadOptions? options = null)
    {
        ModelSource source = ModelFiles.Open(path);
        try
        {
            return Load(source, options);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>Loads an opened model, which the result then owns; on an exception the caller still does.</summary>
    /// <exception cref="ModelFormatException">The files do not belong together.</exception>
    /// <exception cref="UnsupportedModelException">The architecture or the way of storage is not known.</exception>
    public static LoadedModel Load(ModelSource source, ModelLoadOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        options ??= new ModelLoadOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(options.Threads, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegative(options.ContextLength, nameof(options));
        var store = new WeightStore();
        ComputeTeam? ownTeam = null;
        MatrixPlacement? placement = null;
        try
        {
            using var adapters = new AdapterMerger(options.Adapters);
            ArchitectureMapping mapping = ArchitectureRegistry.Map(source);
            ModelSpec spec = Adjusted(WithHead(mapping, source), options);
            CheckVocabulary(source, spec);
            ComputeTeam team = options.Team ?? (ownTeam = new ComputeTeam(options.Threads == 0 ? Environment.ProcessorCount : options.Threads));
            placement = MatrixPlacement.Create(options, team, store, source);
            ModelWeights weights = new WeightBinder(spec, new WeightReader(source, mapping.Tensors, store, adapters, placement)).Bind();
            adapters.RequireAllUsed();
            placement.Finish();
            bool rounds = options.Precision == MatrixPrecision.Fast && !placement.IsExact;
            var backend = new CpuBackend(spec, weights, team, options.KvFormat, options.RecurrentSnapshotBytes, rounds, placement.Queue);
            return new LoadedModel(source, spec, backend, EndTokens(source, spec), store, placement, ownTeam);
        }
        catch (OverflowException e)
        {
            Clean();
            throw new ModelFormatException($"{source.Path}: the config's sizes multiply to more than a machine can hold; it is damaged", e);
        }
        catch
        {
            Clean();
            throw;
        }

        void Clean()
        {
            placement?.Dispose();
            ownTeam?.Dispose();
            store.Dispose();
        }
    }

    /// <summary>A folder that was made for embeddings may leave its head out.</summary>
    private static ModelSpec WithHead(ArchitectureMapping mapping, ModelSource source)
    {
        bool present = mapping.Spec.TiedHead || (mapping.Tensors.Find("output", "weight", -1, -1) is string name && source.TryGetTensor(name, out _));
        return present || source is not HuggingFaceFolder { Modules: not null } ? mapping.Spec : mapping.Spec with { HasHead = false, HeadBias = false };
    }

    private static ModelSpec Adjusted(ModelSpec spec, ModelLoadOptions options)
    {
        spec = options.AdjustSpec?.Invoke(spec) ?? spec;
        return options.ContextLength == 0 ? spec : spec with { ContextLength = Math.Min(options.ContextLength, spec.ContextLength) };
    }

    /// <summary>A file's own token list must have a row of weights for each token, and no row without one.</summary>
    private static void CheckVocabulary(ModelSource source, ModelSpec spec)
    {
        if (source is GgufFile gguf && gguf.Metadata.TryGetValue("tokenizer.ggml.tokens", out GgufValue tokens)
            && tokens.Type == GgufValueType.Array && tokens.Count != spec.VocabularySize)
        {
            throw new ModelFormatException(
                $"{source.Path}: tokenizer.ggml.tokens lists {tokens.Count} tokens, the weights have {spec.VocabularySize}; the file was put together wrongly: convert the model again");
        }
    }

    private static List<int> EndTokens(ModelSource source, ModelSpec spec)
    {
        var tokens = new List<int>();
        if (source is GgufFile gguf)
        {
            foreach (string key in new[] { "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id" })
            {
                if (gguf.Metadata.TryGetInt32(key, out int token))
                {
                    Add(token);
                }
            }
        }
        else if (source is HuggingFaceFolder folder && !AddFrom(folder.GenerationConfig))
        {
            AddFrom(folder.Config);
        }

        return tokens;

        bool AddFrom(JsonElement? config)
        {
            if (config is not { } element || !element.TryGetProperty("eos_token_id", out JsonElement ids))
            {
                return false;
            }

            if (ids.ValueKind == JsonValueKind.Array)
            {
                foreach (JsonElement id in ids.EnumerateArray())
                {
                    AddNumber(id);
                }
            }
            else
            {
                AddNumber(ids);
            }

            return tokens.Count > 0;
        }

        void AddNumber(JsonElement id)
        {
            if (id.ValueKind == JsonValueKind.Number && id.TryGetInt32(out int token))
            {
                Add(token);
            }
        }

        void Add(int token)
        {
            if (token >= 0 && token < spec.VocabularySize && !tokens.Contains(token))
            {
                tokens.Add(token);
            }
        }
    }
}
