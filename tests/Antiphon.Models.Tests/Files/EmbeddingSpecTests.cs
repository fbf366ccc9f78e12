using System.Text;

namespace Antiphon.Models.Tests.Files;

/// <summary>What folders and files say about embeddings, in right and in wrong ways.</summary>
public sealed class EmbeddingSpecTests : IDisposable
{
    private const string Modules =
        """[{"idx":0,"path":"","type":"sentence_transformers.models.Transformer"},{"idx":1,"path":"1_Pooling","type":"sentence_transformers.models.Pooling"},{"idx":2,"path":"2_Normalize","type":"sentence_transformers.models.Normalize"}]""";

    private readonly string folder = Directory.CreateTempSubdirectory("antiphon-embedding-").FullName;

    public EmbeddingSpecTests()
    {
        Directory.CreateDirectory(Path.Combine(folder, "1_Pooling"));
        Write("config.json", "{}");
        File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), TestFiles.Safetensors("""{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4));
    }

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData("""{"pooling_mode_cls_token":false,"pooling_mode_lasttoken":true}""", Pooling.Last)]
    [InlineData("""{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false,"include_prompt":true}""", Pooling.First)]
    [InlineData("""{"pooling_mode_mean_tokens":true}""", Pooling.Mean)]
    [InlineData("""{"pooling_mode":"lasttoken"}""", Pooling.Last)]
    public void The_pooling_is_read(string config, Pooling expected)
    {
        Write("modules.json", Modules);
        Write("1_Pooling/config.json", config);
        Assert.Equal(expected, Read().Pooling);
    }

    [Fact]
    public void Prompts_and_the_longest_text_are_read()
    {
        Write("modules.json", Modules);
        Write("1_Pooling/config.json", """{"pooling_mode_lasttoken":true}""");
        EmbeddingSpec none = Read();
        Assert.Equal((0, null, null), (none.Prompts.Count, none.DefaultPrompt, none.MaxTokens));
        Write("config_sentence_transformers.json", """{"prompts":{"query":"Q: ","document":""},"default_prompt_name":"query"}""");
        Write("sentence_bert_config.json", """{"max_seq_length":77,"do_lower_case":false}""");
        EmbeddingSpec all = Read();
        Assert.Equal(("Q: ", "query", 77), (all.Prompts["query"], all.DefaultPrompt, all.MaxTokens));
    }

    [Fact]
    public void A_folder_that_says_nothing_has_no_values() => Assert.Null(Read().Pooling);

    [Theory]
    [InlineData("""{"pooling_mode_max_tokens":true}""")]
    [InlineData("""{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":true}""")]
    [InlineData("""{"pooling_mode_mean_tokens":true,"include_prompt":false}""")]
    public void Another_pooling_is_not_supported(string config)
    {
        Write("modules.json", Modules);
        Write("1_Pooling/config.json", config);
        Assert.Throws<UnsupportedModelException>(Read);
    }

    [Theory]
    [InlineData("modules.json", """[{"type":"sentence_transformers.models.Dense","path":"3_Dense"}]""", "Dense")]
    [InlineData("modules.json", """[{"type":"a.Pooling","path":"1_Pooling"},{"type":"a.Pooling","path":"1_Pooling"}]""", "Pooling")]
    public void Another_module_is_not_supported(string file, string content, string words)
    {
        Write("modules.json", Modules);
        Write("1_Pooling/config.json", """{"pooling_mode_mean_tokens":true}""");
        Write(file, content);
        Assert.Contains(words, Assert.Throws<UnsupportedModelException>(Read).Message);
    }

    [Theory]
    [InlineData("modules.json", "{}", "array")]
    [InlineData("modules.json", "[1]", "type")]
    [InlineData("modules.json", """[{"type":7}]""", "type")]
    [InlineData("modules.json", """[{"type":"a.Pooling"}]""", "no folder")]
    [InlineData("modules.json", """[{"type":"a.Pooling","path":".."}]""", "no folder")]
    [InlineData("modules.json", """[{"type":"a.Pooling","path":"../../etc"}]""", "no folder")]
    [InlineData("modules.json", """[{"type":"a.Pooling","path":"/etc"}]""", "no folder")]
    [InlineData("modules.json", """[{"type":"a.Pooling","path":"9_Pooling"}]""", "missing")]
    [InlineData("1_Pooling/config.json", "{}", "no pooling mode")]
    [InlineData("1_Pooling/config.json", "[]", "object")]
    [InlineData("sentence_bert_config.json", """{"max_seq_length":0}""", "max_seq_length")]
    [InlineData("sentence_bert_config.json", """{"max_seq_length":1e30}""", "max_seq_length")]
    [InlineData("config_sentence_transformers.json", """{"prompts":{"query":1}}""", "query")]
    [InlineData("config_sentence_transformers.json", """{"prompts":{},"default_prompt_name":"query"}""", "query")]
    public void Damage_is_named(string file, string content, string words)
    {
        Write("modules.json", Modules);
        Write("1_Pooling/config.json", """{"pooling_mode_mean_tokens":true}""");
        Write(file, content);
        Assert.Contains(words, Assert.Throws<ModelFormatException>(Read).Message);
    }

    [Theory]
    [InlineData(null, null)]
    [InlineData(0, null)]
    [InlineData(1, Pooling.Mean)]
    [InlineData(2, Pooling.First)]
    [InlineData(3, Pooling.Last)]
    public void A_gguf_files_pooling_type_is_read(int? type, Pooling? expected) => Assert.Equal(expected, ReadGguf(type).Pooling);

    [Fact]
    public void A_gguf_file_that_ranks_is_not_supported() => Assert.Throws<UnsupportedModelException>(() => ReadGguf(4));

    private static EmbeddingSpec ReadGguf(int? type)
    {
        using var stream = new MemoryStream();
        var writer = new GgufWriter(stream, 64);
        writer.Add("general.architecture", GgufValue.Of("qwen3"));
        if (type is { } given)
        {
            writer.Add("qwen3.pooling_type", GgufValue.Of((uint)given));
        }

        writer.Finish();
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, stream.ToArray());
            using GgufFile file = GgufFile.Open(path);
            return EmbeddingSpec.Read(file);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private EmbeddingSpec Read()
    {
        using ModelSource source = ModelFiles.Open(folder);
        return EmbeddingSpec.Read(source);
    }

    private void Write(string name, string content) => File.WriteAllText(Path.Combine(folder, name), content, new UTF8Encoding(false));
}
