using System.Text;
using System.Text.Json;

namespace Antiphon.Models.Tests.Architectures;

public sealed class ConfigTests : IDisposable
{
    private const string Llama = """
        {"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":8,"hidden_size":4,"intermediate_size":4,"num_hidden_layers":1,
         "num_attention_heads":2,"num_key_value_heads":1,"max_position_embeddings":16,"rms_norm_eps":1e-5,"tie_word_embeddings":true}
        """;

    private readonly string folder = Directory.CreateTempSubdirectory("antiphon").FullName;

    [Fact]
    public void A_whole_folder_loads_and_runs()
    {
        Write(Llama);
        using LoadedModel model = ModelLoader.Load(folder, new ModelLoadOptions { Threads = 1 });
        Assert.Equal("llama", model.Spec.Architecture);
        Assert.Equal(2 * 2 * 4, model.Backend.CacheBytesPerToken);
        using KvCache cache = model.Backend.CreateCache(4, 2);
        using Sequence sequence = new(cache);
        using StepBatch batch = new();
        Assert.True(sequence.TryReserve(1));
        batch.Add(sequence, [3], LogitsWanted.Last);
        model.Backend.Forward(batch);
        Assert.All(batch.Logits(0).ToArray(), value => Assert.True(float.IsFinite(value)));
    }

    [Theory]
    [InlineData("\"hidden_size\":4", "\"hidden_size\":-4", "hidden_size")]
    [InlineData("\"hidden_size\":4", "\"hidden_size\":4.5", "hidden_size")]
    [InlineData("\"hidden_size\":4", "\"hidden_size\":\"4\"", "hidden_size")]
    [InlineData("\"hidden_size\":4", "\"hidden_size\":99999999999", "hidden_size")]
    [InlineData("\"num_hidden_layers\":1", "\"num_hidden_layers\":1000000000", "num_hidden_layers")]
    [InlineData("\"num_hidden_layers\":1,", "", "num_hidden_layers")]
    [InlineData("\"num_key_value_heads\":1", "\"num_key_value_heads\":3", "num_key_value_heads")]
    [InlineData("\"num_attention_heads\":2", "\"num_attention_heads\":0", "num_attention_heads")]
    [InlineData("\"rms_norm_eps\":1e-5", "\"rms_norm_eps\":0", "rms_norm_eps")]
    [InlineData("\"vocab_size\":8", "\"vocab_size\":9", "embed_tokens")]
    [InlineData("\"intermediate_size\":4", "\"intermediate_size\":5", "gate_proj")]
    [InlineData("\"num_hidden_layers\":1", "\"num_hidden_layers\":2", "layers.1")]
    [InlineData("\"rms_norm_eps\"", "\"rope_theta\":0.5,\"rms_norm_eps\"", "rope_theta")]
    [InlineData("\"rms_norm_eps\"", "\"rope_scaling\":[1],\"rms_norm_eps\"", "rope_scaling")]
    [InlineData("\"rms_norm_eps\"", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":-1},\"rms_norm_eps\"", "factor")]
    [InlineData("\"rms_norm_eps\"", "\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,2]},\"rms_norm_eps\"", "short_factor")]
    [InlineData("\"rms_norm_eps\"", "\"head_dim\":3,\"rms_norm_eps\"", "partial_rotary_factor")]
    public void A_field_that_cannot_be_is_named(string from, string to, string named)
    {
        Write(Llama.Replace(from, to, StringComparison.Ordinal));
        var e = Assert.Throws<ModelFormatException>(() => ModelLoader.Load(folder));
        Assert.Contains(named, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"model_type\":\"llama\"", "\"model_type\":\"no_such\"", "no_such")]
    [InlineData("LlamaForCausalLM", "LlamaForSequenceClassification", "LlamaForSequenceClassification")]
    [InlineData("\"rms_norm_eps\"", "\"quantization_config\":{\"quant_method\":\"gptq\"},\"rms_norm_eps\"", "gptq")]
    [InlineData("\"rms_norm_eps\"", "\"rope_scaling\":{\"rope_type\":\"spiral\"},\"rms_norm_eps\"", "spiral")]
    [InlineData("\"rms_norm_eps\"", "\"hidden_act\":\"wavy\",\"rms_norm_eps\"", "wavy")]
    public void What_is_not_supported_is_named(string from, string to, string named)
    {
        Write(Llama.Replace(from, to, StringComparison.Ordinal));
        var e = Assert.Throws<UnsupportedModelException>(() => ModelLoader.Load(folder));
        Assert.Contains(named, e.Feature, StringComparison.Ordinal);
    }

    [Fact]
    public void Both_forms_of_rope_fields_are_read_alike()
    {
        RopeSpec classic = Rope("""{"max_position_embeddings":256,"rope_theta":5000,"rope_scaling":{"type":"yarn","factor":4,"original_max_position_embeddings":64}}""");
        RopeSpec current = Rope("""{"max_position_embeddings":256,"rope_parameters":{"rope_theta":5000,"rope_type":"yarn","factor":4,"original_max_position_embeddings":64}}""");
        Assert.Equal(classic.Frequencies, current.Frequencies);
        Assert.Equal(classic.Magnitude, current.Magnitude);
        Assert.Equal((0.1f * MathF.Log(4)) + 1, current.Magnitude, 1e-6f);

        static RopeSpec Rope(string json) => new RopeConfig(new JsonConfig(JsonDocument.Parse(json).RootElement)).Build(16);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private void Write(string config)
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        (string Name, int[] Shape)[] tensors =
        [
            ("model.embed_tokens.weight", [8, 4]), ("model.norm.weight", [4]),
            ("model.layers.0.input_layernorm.weight", [4]), ("model.layers.0.post_attention_layernorm.weight", [4]),
            ("model.layers.0.self_attn.q_proj.weight", [4, 4]), ("model.layers.0.self_attn.k_proj.weight", [2, 4]),
            ("model.layers.0.self_attn.v_proj.weight", [2, 4]), ("model.layers.0.self_attn.o_proj.weight", [4, 4]),
            ("model.layers.0.mlp.gate_proj.weight", [4, 4]), ("model.layers.0.mlp.up_proj.weight", [4, 4]), ("model.layers.0.mlp.down_proj.weight", [4, 4]),
        ];
        int offset = 0;
        var header = new StringBuilder("{");
        foreach ((string name, int[] shape) in tensors)
        {
            int bytes = 4 * shape.Aggregate((a, b) => a * b);
            header.Append(offset == 0 ? "" : ",").Append($$"""
                "{{name}}":{"dtype":"F32","shape":[{{string.Join(",", shape)}}],"data_offsets":[{{offset}},{{offset + bytes}}]}
                """);
            offset += bytes;
        }

        byte[] text = Encoding.UTF8.GetBytes(header.Append('}').ToString());
        using FileStream file = File.Create(Path.Combine(folder, "model.safetensors"));
        file.Write(BitConverter.GetBytes((long)text.Length));
        file.Write(text);
        for (int i = 0; i < offset / 4; i++)
        {
            file.Write(BitConverter.GetBytes(0.1f * ((i * 7 % 11) - 5)));
        }
    }
}
