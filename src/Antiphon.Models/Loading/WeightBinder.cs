using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Binds a file's weights to a spec.</summary>
internal sealed unsafe class WeightBinder(ModelSpec spec, WeightReader reader)
{
    public ModelWeights Bind()
    {
        var layers = new LayerWeights[spec.Layers.Count];
        for (int i = 0; i < layers.Length; i++)
        {
            layers[i] = Layer(i);
        }

        WeightMatrix embeddings = reader.Matrix("token_embd", spec.VocabularySize, spec.Width);
        return new ModelWeights
        {
            Embeddings = embeddings,
            Positions = spec.LearnedPositions is { } positions ? reader.Matrix("position_embd", positions.Count, spec.Width) : null,
            EmbeddingNorm = spec.EmbeddingNorm is { } norm ? reader.Norm(norm, "token_embd_norm", spec.Width) : null,
            Layers = layers,
            FinalNorm = reader.Norm(spec.FinalNorm, "output_norm", spec.Width),
            Head = !spec.HasHead ? null : spec.TiedHead ? embeddings : reader.Matrix("output", spec.VocabularySize, spec.Width),
            HeadBias = reader.VectorIf(spec.HeadBias, "output", spec.VocabularySize),
        };
    }

    private LayerWeights Layer(int layer)
    {
        LayerSpec own = spec.Layers[layer];
        bool before = own.Placement is NormPlacement.Pre or NormPlacement.Sandwich;
        bool behind = own.Placement is NormPlacement.Post or NormPlacement.Sandwich;
        bool feedForwardNorm = own.FeedForward is not null && own.Residual != ResidualForm.Parallel;
        return new LayerWeights
        {
            Spec = own,
            MixerNorm = before && own.Mixer is not null ? Norm("attn_norm") : null,
            MixerPostNorm = behind && own.Mixer is not null ? Norm("attn_post_norm") : null,
            FeedForwardNorm = before && feedForwardNorm ? Norm("ffn_norm") : null,
            FeedForwardPostNorm = behind && feedForwardNorm ? Norm("ffn_post_norm") : null,
            Mixer = own.Mixer switch
            {
                null => null,
                AttentionSpec attention => Attention(attention, layer),
                LatentAttentionSpec latent => LatentAttention(latent, layer),
                GatedDeltaNetSpec deltaNet => DeltaNet(deltaNet, layer),
                _ => throw new UnsupportedModelException(own.Mixer.GetType().Name),
            },
            FeedForward = own.FeedForward switch
            {
                null => null,
                DenseSpec dense => Dense(dense, layer),
                MixtureSpec mixture => new MixtureBinder(spec.Width, mixture, reader, layer).Bind(),
                _ => throw new UnsupportedModelException(own.FeedForward.GetType().Name),
            },
        };

        NormWeights Norm(string role) => reader.Norm(own.Norm, role, spec.Width, layer);
    }

    private AttentionWeights Attention(AttentionSpec attention, int layer)
    {
        int head = attention.HeadSize;
        int queries = checked(attention.Heads * head * (attention.OutputGate ? 2 : 1));
        int keys = checked(attention.KeyValueHeads * head);
        int outputs = checked(attention.Heads * head);
        bool bias = attention.QueryKeyValueBias;
        Linear query, key, value;
        if (reader.Has("attn_qkv", "weight", layer))
        {
            WeightMatrix fused = reader.Matrix("attn_qkv", checked(queries + (2 * keys)), spec.Width, layer);
            float* fusedBias = reader.VectorIf(bias, "attn_qkv", queries + (2 * keys), layer);
            query = new Linear(fused.Slice(0, queries), fusedBias);
            key = new Linear(fused.Slice(queries, keys), fusedBias is null ? null : fusedBias + queries);
            value = new Linear(fused.Slice(queries + keys, keys), fusedBias is null ? null : fusedBias + queries + keys);
        }
        else
        {
            query = Linear("attn_q", queries, spec.Width, layer, bias);
            key = Linear("attn_k", keys, spec.Width, layer, bias);
            value = Linear("attn_v", keys, spec.Width, layer, bias);
        }

        NormSpec? norm = attention.QueryKeyNorm;
        return new AttentionWeights
        {
            Query = query,
            Key = key,
            Value = value,
            Output = Linear("attn_output", spec.Width, outputs, layer, attention.OutputBias),
            QueryNorm = norm is null ? null : reader.Norm(norm, "attn_q_norm", attention.NormAcrossHeads ? outputs : head, layer),
            KeyNorm = norm is null ? null : reader.Norm(norm, "attn_k_norm", attention.NormAcrossHeads ? keys : head, layer),
            Sinks = reader.VectorIf(attention.Sinks, "attn_sinks", attention.Heads, layer, "weight"),
        };
    }

    private LatentAttentionWeights LatentAttention(LatentAttentionSpec latent, int layer)
    {
        int queries = checked(latent.Heads * (latent.PlainSize + latent.RotatedSize));
        bool compressed = latent.QueryRank > 0;
        var norm = new NormSpec(NormKind.Rms, latent.CompressionNormEpsilon);
        (WeightMatrix[] keyUp, WeightMatrix[] valueUp) = LatentUp(latent, layer);
        return new LatentAttentionWeights
        {
            QueryDown = compressed ? Linear("attn_q_a", latent.QueryRank, spec.Width, layer, latent.Bias) : Linear("attn_q", queries, spec.Width, layer, false),
            QueryNorm = compressed ? reader.Norm(norm, "attn_q_a_norm", latent.QueryRank, layer) : null,
            QueryUp = compressed ? Linear("attn_q_b", queries, latent.QueryRank, layer, false) : null,
            KeyValueDown = Linear("attn_kv_a_mqa", latent.LatentRank + latent.RotatedSize, spec.Width, layer, latent.Bias),
            LatentNorm = reader.Norm(norm, "attn_kv_a_norm", latent.LatentRank, layer),
            KeyUp = keyUp,
            ValueUp = valueUp,
            Output = Linear("attn_output", spec.Width, checked(latent.Heads * latent.ValueSize), layer, latent.Bias),
        };
    }

    /// <summary>The two halves of the up-projection of latent vectors; the first transposed, so that queries can be brought down instead of keys up.</summary>
    private (WeightMatrix[] KeyUp, WeightMatrix[] ValueUp) LatentUp(LatentAttentionSpec latent, int layer)
    {
        WeightMatrix[]? keys = reader.TryStack("attn_k_b", latent.Heads, latent.LatentRank, latent.PlainSize, layer);
        WeightMatrix[]? values = reader.TryStack("attn_v_b", latent.Heads, latent.ValueSize, latent.LatentRank, layer);
        if (keys is not null && values is not null)
        {
            return (keys, values);
        }

        int perHead = latent.PlainSize + latent.ValueSize;
        WeightMatrix fused = reader.Matrix("attn_kv_b", checked(latent.Heads * perHead), latent.LatentRank, layer);
        keys = new WeightMatrix[latent.Heads];
        values = new WeightMatrix[latent.Heads];
        float[] row = new float[latent.LatentRank];
        for (int head = 0; head < latent.Heads; head++)
        {
            float* transposed = reader.Store.Floats((long)latent.LatentRank * latent.PlainSize);
            for (int r = 0; r < latent.PlainSize; r++)
            {
                fused.DecodeRow((head * perHead) + r, row);
                for (int c = 0; c < row.Length; c++)
                {
                    transposed[((long)c * latent.PlainSize) + r] = row[c];
                }
            }

            keys[head] = WeightMatrix.Create(
                TensorFormat.F32, latent.LatentRank, latent.PlainSize, (byte*)transposed, (long)latent.LatentRank * latent.PlainSize * sizeof(float));
            values[head] = fused.Slice((head * perHead) + latent.PlainSize, latent.ValueSize);
        }

        return (keys, values);
    }

    private GatedDeltaNetWeights DeltaNet(GatedDeltaNetSpec net, int layer)
    {
        WeightMatrix queryKeyValue, gate;
        if (reader.Has("ssm_qkv", "weight", layer))
        {
            queryKeyValue = reader.Matrix("ssm_qkv", net.Channels, spec.Width, layer);
            gate = reader.Matrix("ssm_z", net.ValueWidth, spec.Width, layer);
        }
        else
        {
            (queryKeyValue, gate) = Ungrouped(net, reader.Matrix("ssm_in", checked(net.Channels + net.ValueWidth), spec.Width, layer));
        }

        return new GatedDeltaNetWeights
        {
            QueryKeyValue = queryKeyValue,
            Gate = gate,
            StrengthAndDecay = reader.Matrix("ssm_ba", 2 * net.ValueHeads, spec.Width, layer),
            Convolution = Convolution(net, layer),
            DecayFactor = DecayFactor(net, layer),
            DecayBias = reader.Vector("ssm_dt", net.ValueHeads, layer, "bias"),
            OutputNorm = reader.Norm(net.OutputNorm, "ssm_norm", net.ValueSize, layer, hasOffset: false),
            Output = reader.Matrix("ssm_out", spec.Width, net.ValueWidth, layer),
        };
    }

    /// <summary>Checkpoints keep, for each key head, its query, its key, the values of its value heads and their gates; we want each kind together.</summary>
    private (WeightMatrix QueryKeyValue, WeightMatrix Gate) Ungrouped(GatedDeltaNetSpec net, WeightMatrix grouped)
    {
        int values = net.ValueWidth / net.KeyHeads;
        int group = (2 * net.KeySize) + (2 * values);
        int[] queryKeyValue = new int[net.Channels];
        int[] gate = new int[net.ValueWidth];
        for (int head = 0; head < net.KeyHeads; head++)
        {
            int start = head * group;
            for (int i = 0; i < net.KeySize; i++)
            {
                queryKeyValue[(head * net.KeySize) + i] = start + i;
                queryKeyValue[net.KeyWidth + (head * net.KeySize) + i] = start + net.KeySize + i;
            }

            for (int i = 0; i < values; i++)
            {
                queryKeyValue[(2 * net.KeyWidth) + (head * values) + i] = start + (2 * net.KeySize) + i;
                gate[(head * values) + i] = start + (2 * net.KeySize) + values + i;
            }
        }

        return (reader.Rows(grouped, queryKeyValue), reader.Rows(grouped, gate));
    }

    private float* Convolution(GatedDeltaNetSpec net, int layer)
    {
        TensorView tensor = reader.Tensor("ssm_conv1d", "weight", layer);
        reader.Require(tensor, tensor.Shape[0] == net.Channels && tensor.ElementCount == (long)net.Channels * net.ConvolutionWidth, $"[{net.Channels}, {net.ConvolutionWidth}]");
        float* stored = reader.Floats(tensor);
        float* taps = reader.Store.Floats((long)net.Channels * net.ConvolutionWidth);
        for (int channel = 0; channel < net.Channels; channel++)
        {
            for (int tap = 0; tap < net.ConvolutionWidth; tap++)
            {
                taps[((long)tap * net.Channels) + channel] = stored[((long)channel * net.ConvolutionWidth) + tap];
            }
        }

        return taps;
    }

    private float* DecayFactor(GatedDeltaNetSpec net, int layer)
    {
        if (reader.Has("ssm_a", "weight", layer))
        {
            return reader.Vector("ssm_a", net.ValueHeads, layer);
        }

        float* factor = reader.Vector("ssm_a_log", net.ValueHeads, layer);
        for (int i = 0; i < net.ValueHeads; i++)
        {
            factor[i] = -MathF.Exp(factor[i]);
        }

        return factor;
    }

    private DenseWeights Dense(DenseSpec dense, int layer)
    {
        if (dense.Gated && reader.Has("ffn_gate_up", "weight", layer))
        {
            WeightMatrix fused = reader.Matrix("ffn_gate_up", checked(2 * dense.Width), spec.Width, layer);
            float* bias = reader.VectorIf(dense.Bias, "ffn_gate_up", 2 * dense.Width, layer);
            return new DenseWeights
            {
                Gate = new Linear(fused.Slice(0, dense.Width), bias),
                Up = new Linear(fused.Slice(dense.Width, dense.Width), bias is null ? null : bias + dense.Width),
                Down = Linear("ffn_down", spec.Width, dense.Width, layer, dense.Bias),
            };
        }

        return new DenseWeights
        {
            Gate = dense.Gated ? Linear("ffn_gate", dense.Width, spec.Width, layer, dense.Bias) : null,
            Up = Linear("ffn_up", dense.Width, spec.Width, layer, dense.Bias),
            Down = Linear("ffn_down", spec.Width, dense.Width, layer, dense.Bias),
        };
    }

    private Linear Linear(string role, int rows, int columns, int layer, bool bias) =>
        new(reader.Matrix(role, rows, columns, layer), reader.VectorIf(bias, role, rows, layer));
}
