using System.Text;
using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Models.Tests.Files;

/// <summary>What a path can hold, and what is said when it holds no model.</summary>
public sealed class ModelFilesTests : IDisposable
{
    private const string OneTensor = """{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""";
    private readonly string folder = Directory.CreateTempSubdirectory("antiphon-files-").FullName;

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData("empty", "", "empty")]
    [InlineData("pickle.bin", "\u0080\u0002}q", "pickled")]
    [InlineData("zip.bin", "PK\u0003\u0004abcdefgh", "pickled")]
    [InlineData("lfs.gguf", "version https://git-lfs", "LFS")]
    [InlineData("old.bin", "lmggabcdefgh", "older than GGUF")]
    [InlineData("error.gguf", "<html>not found", "text")]
    [InlineData("noise.bin", "qwertyuiopasdf", "no model file")]
    [InlineData("short.bin", "q", "no model file")]
    public void A_file_of_another_kind_is_named(string name, string content, string words)
    {
        string path = Write(name, Encoding.Latin1.GetBytes(content));
        Refused(words, () => ModelFiles.Open(path));
    }

    [Fact]
    public void A_missing_path_and_folders_without_a_model_are_named()
    {
        Refused("no such file or folder", () => ModelFiles.Open(At("absent")));
        Refused("no such file", () => GgufFile.Open(At("absent.gguf")));
        Refused("no such folder", () => HuggingFaceFolder.Open(At("absent")));
        Refused("no config.json", () => ModelFiles.Open(folder));
        Write("config.json", "{}"u8);
        Refused("no weights", () => ModelFiles.Open(folder));
        Write("pytorch_model.bin", "x"u8);
        Refused("pickled", () => ModelFiles.Open(folder));
    }

    [Fact]
    public void A_folder_with_one_gguf_opens_and_one_with_two_does_not()
    {
        Write("a.gguf", TestFiles.Gguf());
        ModelFiles.Open(folder).Dispose();
        Write("config.json", "{}"u8);
        using (ModelSource source = ModelFiles.Open(folder))
        {
            Assert.IsType<GgufFile>(source);
        }

        Write("b.gguf", TestFiles.Gguf());
        Refused("2 GGUF models", () => ModelFiles.Open(folder));
    }

    [Fact]
    public void A_safetensors_file_alone_points_to_its_folder()
    {
        Write("config.json", "{}"u8);
        string path = Write("model.safetensors", TestFiles.Safetensors(OneTensor, 4));
        Refused("give the folder", () => ModelFiles.Open(path));
        using ModelSource source = ModelFiles.Open(folder);
        Assert.True(source.TryGetTensor("w", out TensorView tensor));
        Assert.Equal((TensorFormat.F32, 4L), (tensor.Format, tensor.ByteCount));
    }

    [Theory]
    [InlineData("""{"weight_map":{"w":"../model.safetensors"}}""", "no name of a safetensors file")]
    [InlineData("""{"weight_map":{"w":"/etc/model.safetensors"}}""", "no name of a safetensors file")]
    [InlineData("""{"weight_map":{"w":"a\\b.safetensors"}}""", "no name of a safetensors file")]
    [InlineData("""{"weight_map":{"w":"pytorch_model.bin"}}""", "no name of a safetensors file")]
    [InlineData("""{"weight_map":{"w":3}}""", "no name of a safetensors file")]
    [InlineData("""{"weight_map":{"w":"one.safetensors","w":"two.safetensors"}}""", "twice")]
    [InlineData("""{"weight_map":{"w":"one.safetensors","v":"three.safetensors"}}""", "missing")]
    [InlineData("""{"weight_map":{"w":"one.safetensors","v":"one.safetensors"}}""", "should be in this shard")]
    [InlineData("""{"weight_map":{"w":"one.safetensors","v":"two.safetensors"}}""", "in another shard too")]
    [InlineData("""{"weight_map":[]}""", "weight_map")]
    [InlineData("""[]""", "no JSON object")]
    [InlineData("""{""", "no valid JSON")]
    public void A_bad_index_is_refused(string index, string words)
    {
        Write("config.json", "{}"u8);
        Write("one.safetensors", TestFiles.Safetensors(OneTensor, 4));
        Write("two.safetensors", TestFiles.Safetensors(OneTensor, 4));
        Write("model.safetensors.index.json", Encoding.UTF8.GetBytes(index));
        Refused(words, () => ModelFiles.Open(folder));
    }

    [Fact]
    public void Shards_open_together()
    {
        Write("config.json", "{}"u8);
        Write("one.safetensors", TestFiles.Safetensors(OneTensor, 4));
        Write("two.safetensors", TestFiles.Safetensors(OneTensor.Replace("\"w\"", "\"v\"", StringComparison.Ordinal), 4));
        Write("model.safetensors.index.json", """{"metadata":{"total_size":8},"weight_map":{"w":"one.safetensors","v":"two.safetensors"}}"""u8);
        using ModelSource source = ModelFiles.Open(folder);
        Assert.Equal(["w", "v"], source.Tensors.Select(t => t.Name));
        Assert.Equal(new FileInfo(At("one.safetensors")).Length + new FileInfo(At("two.safetensors")).Length, source.FileBytes);
    }

    [Fact]
    public void Config_reads_infinities_outside_strings_only()
    {
        Write("config.json", """{"a":[0.0,Infinity,-Infinity,NaN,{"__float__":"Infinity"},{"__float__":"1.5"}],"Infinity \" NaN":"NaN","b":2}"""u8);
        Write("model.safetensors", TestFiles.Safetensors(OneTensor, 4));
        using HuggingFaceFolder source = HuggingFaceFolder.Open(folder);
        Assert.Equal(
            [0, double.PositiveInfinity, double.NegativeInfinity, double.NaN, double.PositiveInfinity, 1.5],
            source.Config.GetProperty("a").EnumerateArray().Select(JsonFile.GetDouble));
        Assert.Equal("NaN", source.Config.GetProperty("Infinity \" NaN").GetString());
        Assert.Throws<ModelFormatException>(() => JsonFile.GetDouble(source.Config));
    }

    [Theory]
    [InlineData("{\"a\":\"\\ud800\"}", "Unicode")]
    [InlineData("{\"a\":}", "line 1")]
    [InlineData("3", "object")]
    [InlineData("", "JSON")]
    public void A_bad_config_is_refused(string config, string words)
    {
        Write("config.json", Encoding.UTF8.GetBytes(config));
        Write("model.safetensors", TestFiles.Safetensors(OneTensor, 4));
        Refused(words, () => ModelFiles.Open(folder));
    }

    [Fact]
    public void A_config_nested_too_deep_is_refused()
    {
        Write("config.json", Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("{\"a\":", 100_000))));
        Write("model.safetensors", TestFiles.Safetensors(OneTensor, 4));
        Refused("JSON", () => ModelFiles.Open(folder));
    }

    [Fact]
    public void Chat_templates_are_found_in_each_of_their_places()
    {
        Write("config.json", "{}"u8);
        Write("model.safetensors", TestFiles.Safetensors(OneTensor, 4));
        Assert.Empty(Templates());
        Write("tokenizer_config.json", """{"chat_template":"one"}"""u8);
        Assert.Equal("one", Templates()["default"]);
        Write("tokenizer_config.json", """{"chat_template":[{"name":"default","template":"two"},{"name":"tool_use","template":"three"}]}"""u8);
        Assert.Equal(("two", "three"), (Templates()["default"], Templates()["tool_use"]));
        Write("chat_template.json", """{"chat_template":"four"}"""u8);
        Assert.Equal("four", Templates()["default"]);
        Write("chat_template.jinja", "five"u8);
        Assert.Equal("five", Templates()["default"]);
        Write("chat_template.jinja", [0xff]);
        Refused("UTF-8", () => ModelFiles.Open(folder));
        File.Delete(At("chat_template.jinja"));
        Write("chat_template.json", """{"chat_template":[{"name":"default"}]}"""u8);
        Refused("chat_template", () => ModelFiles.Open(folder));

        IReadOnlyDictionary<string, string> Templates()
        {
            using HuggingFaceFolder source = HuggingFaceFolder.Open(folder);
            return source.ChatTemplates;
        }
    }

    [Fact]
    public void Absent_files_of_a_folder_are_null()
    {
        Write("config.json", "{}"u8);
        Write("model.safetensors", TestFiles.Safetensors(OneTensor, 4));
        using HuggingFaceFolder source = HuggingFaceFolder.Open(folder);
        Assert.Null(source.TokenizerJson);
        Assert.Null(source.TokenizerConfig);
        Assert.Null(source.GenerationConfig);
        Assert.Contains("tokenizer.json", Assert.Throws<ModelFormatException>(() => TokenizerLoader.Load(source)).Message);
    }

    [Fact]
    public unsafe void A_file_of_five_gigabytes_opens_at_once_and_without_memory()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs a file system that leaves holes in files");
        const long Large = 5L << 30;
        byte[] header = TestFiles.RawGguf(_ => { }, 0, r => r.Tensor("large", 24, 0, 1 << 20, Large >> 20).Tensor("last", 24, Large, 32), 2, 0);
        int dataStart = (header.Length + 31) / 32 * 32;
        string path = Write("large.gguf", header);
        using (FileStream stream = File.OpenWrite(path))
        {
            stream.SetLength(dataStart + Large + 32);
            stream.Position = dataStart + Large;
            stream.WriteByte(77);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        var watch = System.Diagnostics.Stopwatch.StartNew();
        using ModelSource source = ModelFiles.Open(path);
        Assert.True(watch.ElapsedMilliseconds < 1000, $"{watch.ElapsedMilliseconds} ms");
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 1 << 20);
        Assert.Equal((Large, Large), (source.Tensors[0].ByteCount, source.Tensors[0].ElementCount));
        Assert.Equal(77, *(byte*)source.Tensors[1].Data);
    }

    [Fact]
    public void Mutated_json_files_give_typed_errors_or_open()
    {
        (string Name, byte[] Content)[] files =
        [
            ("config.json", """{"model_type":"llama","limit":[0,Infinity],"text_config":{"x":"\u00e9"}}"""u8.ToArray()),
            ("tokenizer_config.json", """{"chat_template":[{"name":"default","template":"two"}],"bos_token":{"content":"<s>"}}"""u8.ToArray()),
            ("model.safetensors.index.json", """{"weight_map":{"w":"one.safetensors","v":"two.safetensors"}}"""u8.ToArray()),
        ];
        Write("one.safetensors", TestFiles.Safetensors(OneTensor, 4));
        Write("two.safetensors", TestFiles.Safetensors(OneTensor.Replace("\"w\"", "\"v\"", StringComparison.Ordinal), 4));
        var random = new Random(3);
        int opened = 0;
        int refused = 0;
        for (int i = 0; i < 900; i++)
        {
            for (int f = 0; f < files.Length; f++)
            {
                Write(files[f].Name, f == i % files.Length ? Mutation.Of(files[f].Content, random, files[f].Content.Length) : files[f].Content);
            }

            try
            {
                ModelFiles.Open(folder).Dispose();
                opened++;
            }
            catch (ModelFormatException)
            {
                refused++;
            }
        }

        Assert.True(opened > 10 && refused > 100, $"{opened} opened, {refused} refused");
    }

    [Fact]
    public void A_file_that_is_open_can_still_be_deleted_and_is_released()
    {
        string path = Write("a.gguf", TestFiles.Gguf());
        using (ModelSource source = ModelFiles.Open(path))
        {
            Assert.Equal(4, source.Tensors.Count);
        }

        File.Delete(path);
        Assert.False(File.Exists(path));
    }

    [Theory]
    [InlineData("""{"peft_type":"LOHA","r":1,"lora_alpha":2}""", "LOHA")]
    [InlineData("""{"r":1,"lora_alpha":2,"use_dora":true}""", "use_dora")]
    [InlineData("""{"r":1,"lora_alpha":2,"bias":"all"}""", "bias")]
    [InlineData("""{"r":0,"lora_alpha":2}""", "'r'")]
    [InlineData("""{"r":2,"lora_alpha":2}""", "[2, inputs]")]
    [InlineData("""{"r":1}""", "'lora_alpha'")]
    public void A_bad_adapter_is_refused(string config, string words)
    {
        WriteAdapter(config);
        Refused(words, () => PeftAdapter.Open(folder));
    }

    [Fact]
    public void An_adapter_gives_scales_by_pattern_and_root()
    {
        WriteAdapter("""{"r":1,"lora_alpha":2}""");
        using (PeftAdapter adapter = PeftAdapter.Open(folder))
        {
            Assert.Equal(("model.q_proj", 2f), (adapter.Pairs.Single().Module, adapter.Pairs.Single().Scale));
        }

        WriteAdapter("""{"r":9,"lora_alpha":2,"rank_pattern":{"q_proj":1},"alpha_pattern":{"model.q_proj":5},"use_rslora":true}""");
        using (PeftAdapter adapter = PeftAdapter.Open(folder))
        {
            Assert.Equal(5f, adapter.Pairs.Single().Scale);
        }
    }

    private static void Refused(string words, Func<IDisposable> open)
    {
        string message = Assert.Throws<ModelFormatException>(() => open().Dispose()).Message;
        Assert.Contains(words, message);
        Assert.DoesNotContain('\n', message);
    }

    private void WriteAdapter(string config)
    {
        Write("adapter_config.json", Encoding.UTF8.GetBytes(config));
        Write("adapter_model.safetensors", TestFiles.Safetensors(
            """{"base_model.model.model.q_proj.lora_A.weight":{"dtype":"F32","shape":[1,3],"data_offsets":[0,12]},"base_model.model.model.q_proj.lora_B.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[12,20]}}""", 20));
    }

    private string At(string name) => Path.Combine(folder, name);

    private string Write(string name, ReadOnlySpan<byte> bytes)
    {
        File.WriteAllBytes(At(name), bytes);
        return At(name);
    }
}
