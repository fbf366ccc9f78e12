using Antiphon.Engine;
using Antiphon.Text;

namespace Antiphon.Server;

/// <summary>A loaded model as the protocols see it.</summary>
internal sealed class ServedModel(string id, LanguageModel model, DateTimeOffset created)
{
    /// <summary>The name in requests.</summary>
    public string Id => id;

    /// <summary>When it was loaded.</summary>
    public DateTimeOffset Created => created;

    /// <summary>The model.</summary>
    public LanguageModel Model => model;

    /// <summary>Its engine.</summary>
    public InferenceEngine Engine => model.Engine;

    /// <summary>Its tokenizer.</summary>
    public Tokenizer Tokenizer => model.Text.Tokenizer;

    /// <summary>What its publisher recommends, for fields that a request leaves open.</summary>
    public SamplingOptions DefaultSampling => model.DefaultSampling;
}
