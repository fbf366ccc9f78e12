using Antiphon.Models;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.Files;

/// <summary>The tokenizers of whole models, from folders and from GGUF metadata.</summary>
public sealed class TokenizerLoaderTests
{
    /// <summary>The vocabulary files of shared/tokenizers.</summary>
    public static TheoryData<string> Vocabularies() => SharedMaterial.Entries(p => p.EndsWith(".gguf", StringComparison.Ordinal), "tokenizers");

    [Theory]
    [MemberData(nameof(Vocabularies))]
    public void A_vocabulary_file_is_read(string name)
    {
        Assert.SkipWhen(name == SharedMaterial.Missing, "shared/tokenizers is absent");
        using ModelSource source = ModelFiles.Open(SharedMaterial.Path("tokenizers", name));
        GgufVocabulary vocabulary = TokenizerLoader.ReadVocabulary(Assert.IsType<GgufFile>(source).Metadata);
        Assert.True(vocabulary.Tokens.Count > 1000);
        Assert.True(vocabulary.TokenTypes is null || vocabulary.TokenTypes.Count == vocabulary.Tokens.Count);
        Assert.True(vocabulary.Merges is not null || vocabulary.Scores is not null || vocabulary.Model == "bert");
    }

    [Fact]
    public void Tales_has_the_same_tokenizer_in_both_of_its_forms()
    {
        using ModelSource folder = ModelFiles.Open(SharedMaterial.Path("models", "tales"));
        using ModelSource file = ModelFiles.Open(SharedMaterial.Path("models", "tales", "tales.Q8_0.gguf"));
        Tokenizer one = TokenizerLoader.Load(folder);
        Tokenizer two = TokenizerLoader.Load(file);
        const string Text = "<|im_start|>user\nTell me a story about a fox & 12 rivers.<|im_end|>\n";
        int[] ids = one.Encode(Text, parseSpecialTokens: true);
        Assert.Equal(ids, two.Encode(Text, parseSpecialTokens: true));
        Assert.Equal(Text, two.Decode(ids));
        Assert.Equal(one.EosId, two.EosId);
    }

    [Fact]
    public void A_folder_without_a_tokenizer_says_so()
    {
        using ModelSource folder = ModelFiles.Open(SharedMaterial.Path("conformance", "models", "llama"));
        Assert.Contains("tokenizer.json", Assert.Throws<ModelFormatException>(() => TokenizerLoader.Load(folder)).Message);
    }
}
