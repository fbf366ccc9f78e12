using Antiphon.Kernels;

namespace Antiphon.Models.Tests.Forward;

/// <summary>Small models with random weights, made of whichever layers a test is about.</summary>
internal sealed unsafe class TinyModel : IDisposable
{
    public const int Width = 48;
    public const int Vocabulary = 97;

    private readonly WeightStore store = new();
    private readonly ComputeTeam team;
    private readonly Random random = new(7);

    public TinyModel(int workers, KvFormat format, long snapshotBytes, params MixerSpec[] mixers)
    {
        team = new ComputeTeam(workers);
        Spec = new ModelSpec
        {
            Architecture = "tiny",
            VocabularySize = Vocabulary,
            Width = Width,
            ContextLength = 512,
            Layers = [.. mixers.Select((mixer, i) => new LayerSpec { Mixer = mixer, FeedForward = i % 2 == 0 ? Mixture : new DenseSpec(80, Activation.Silu), Norm = Rms })],
            FinalNorm = Rms,
        };
        var weights = new ModelWeights
        {
            Embeddings = Matrix(Vocabulary, Width, 1),
            Positions = null,
            EmbeddingNorm = null,
            Layers = [.. Spec.Layers.Select(Layer)],
            FinalNorm = Norm(Width),
            Head = Matrix(Vocabulary, Width),
            HeadBias = null,
        };
        Backend = new CpuBackend(Spec, weights, team, format, snapshotBytes);
    }

    public static AttentionSpec Attention { get; } = new()
    {
        Heads = 4, KeyValueHeads = 2, HeadSize = 16, Scale = 0.25f, Positions = new RopeSpec { Frequencies = [1, 0.5f, 0.1f, 0.02f] },
    };

    public static LatentAttentionSpec Latent { get; } = new()
    {
        Heads = 3, QueryRank = 20, LatentRank = 24, PlainSize = 10, RotatedSize = 8, ValueSize = 12, Scale = 0.2f, CompressionNormEpsilon = 1e-6f,
        Rope = new RopeSpec { Frequencies = [1, 0.3f, 0.1f, 0.01f], Interleaved = true },
    };

    public static GatedDeltaNetSpec DeltaNet { get; } = new()
    {
        KeyHeads = 2, ValueHeads = 4, KeySize = 8, ValueSize = 12, ConvolutionWidth = 4, OutputNorm = new NormSpec(NormKind.Rms, 1e-6f),
    };

    public static MixtureSpec Mixture { get; } = new()
    {
        Experts = 6, Used = 2, ExpertWidth = 32, Activation = Activation.Silu, SharedWidth = 16, SharedGate = true,
        Router = new RouterSpec { Score = RouterScore.Softmax, Normalize = true },
    };

    public ModelSpec Spec { get; }

    public CpuBackend Backend { get; }

    private static NormSpec Rms { get; } = new(NormKind.Rms, 1e-6f);

    /// <summary>The logits of the last token of a sequence that takes these tokens in chunks.</summary>
    public float[] Feed(Sequence sequence, ReadOnlySpan<int> tokens, int chunk = int.MaxValue)
    {
        using StepBatch batch = new();
        for (int start = 0; start < tokens.Length; start += chunk)
        {
            int count = Math.Min(chunk, tokens.Length - start);
            batch.Clear();
            Assert.True(sequence.TryReserve(count));
            batch.Add(sequence, tokens.Slice(start, count), LogitsWanted.Last);
            Backend.Forward(batch);
            sequence.Commit(count);
            if (chunk == int.MaxValue)
            {
                break;
            }
        }

        return batch.Logits(0).ToArray();
    }

    /// <summary>The logits of the last of these tokens, in a cache of their own.</summary>
    public float[] Fresh(ReadOnlySpan<int> tokens, int chunk = int.MaxValue)
    {
        using KvCache cache = Backend.CreateCache(16, 40);
        using Sequence sequence = new(cache);
        return Feed(sequence, tokens, chunk);
    }

    public static int[] Tokens(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(Vocabulary))];
    }

    public void Dispose()
    {
        Backend.Dispose();
        team.Dispose();
        store.Dispose();
    }

    private LayerWeights Layer(LayerSpec layer) => new()
    {
        Spec = layer,
        MixerNorm = Norm(Width),
        MixerPostNorm = null,
        FeedForwardNorm = Norm(Width),
        FeedForwardPostNorm = null,
        Mixer = layer.Mixer switch
        {
            AttentionSpec a => new AttentionWeights
            {
                Query = Linear(a.Heads * a.HeadSize, Width), Key = Linear(a.KeyValueHeads * a.HeadSize, Width), Value = Linear(a.KeyValueHeads * a.HeadSize, Width),
                Output = Linear(Width, a.Heads * a.HeadSize), QueryNorm = null, KeyNorm = null, Sinks = a.Sinks ? Floats(a.Heads, 1) : null,
            },
            LatentAttentionSpec l => new LatentAttentionWeights
            {
                QueryDown = Linear(l.QueryRank, Width), QueryNorm = Norm(l.QueryRank), QueryUp = Linear(l.Heads * (l.PlainSize + l.RotatedSize), l.QueryRank),
                KeyValueDown = Linear(l.LatentRank + l.RotatedSize, Width), LatentNorm = Norm(l.LatentRank),
                KeyUp = [.. Enumerable.Range(0, l.Heads).Select(_ => Matrix(l.LatentRank, l.PlainSize))],
                ValueUp = [.. Enumerable.Range(0, l.Heads).Select(_ => Matrix(l.ValueSize, l.LatentRank))],
                Output = Linear(Width, l.Heads * l.ValueSize),
            },
            GatedDeltaNetSpec g => DeltaNetWeights(g),
            _ => throw new NotSupportedException(),
        },
        FeedForward = layer.FeedForward switch
        {
            DenseSpec d => Dense(d.Width),
            MixtureSpec m => new MixtureWeights
            {
                Router = Linear(m.Experts, Width), SelectionBias = null, Experts = [.. Enumerable.Range(0, m.Experts).Select(_ => Dense(m.ExpertWidth))],
                Shared = Dense(m.SharedWidth), SharedGate = Matrix(1, Width),
            },
            _ => throw new NotSupportedException(),
        },
    };

    private GatedDeltaNetWeights DeltaNetWeights(GatedDeltaNetSpec net)
    {
        float* decay = Floats(net.ValueHeads, 1);
        for (int i = 0; i < net.ValueHeads; i++)
        {
            decay[i] = -MathF.Abs(decay[i]);
        }

        return new GatedDeltaNetWeights
        {
            QueryKeyValue = Matrix(net.Channels, Width), Gate = Matrix(net.ValueWidth, Width), StrengthAndDecay = Matrix(2 * net.ValueHeads, Width),
            Convolution = Floats(net.ConvolutionWidth * net.Channels, 0.5f), DecayFactor = decay, DecayBias = Floats(net.ValueHeads, 1),
            OutputNorm = Norm(net.ValueSize), Output = Matrix(Width, net.ValueWidth),
        };
    }

    private DenseWeights Dense(int inner) => new() { Gate = Linear(inner, Width), Up = Linear(inner, Width), Down = Linear(Width, inner) };

    private Linear Linear(int rows, int columns) => new(Matrix(rows, columns), Floats(rows, 0.1f));

    private NormWeights Norm(int length) => new() { Spec = Rms, Weight = Floats(length, 1), Bias = null, Length = length };

    private WeightMatrix Matrix(int rows, int columns, float deviation = 0) =>
        WeightMatrix.Create(
            TensorFormat.F32, rows, columns, (byte*)Floats(rows * columns, deviation > 0 ? deviation : 1.5f / MathF.Sqrt(columns)), (long)rows * columns * sizeof(float));

    private float* Floats(int count, float deviation)
    {
        float* values = store.Floats(count);
        for (int i = 0; i < count; i++)
        {
            values[i] = ((random.NextSingle() * 2) - 1) * deviation * 1.7f;
        }

        return values;
    }
}
