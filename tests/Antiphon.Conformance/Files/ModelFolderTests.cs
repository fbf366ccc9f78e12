using Antiphon.Kernels;
using Antiphon.Models;
using Antiphon.Testing;

namespace Antiphon.Conformance.Files;

/// <summary>Every model folder and file of the shared material opens, and the views of its tensors add up.</summary>
public sealed class ModelFolderTests
{
    /// <summary>Folders of shared/conformance/models.</summary>
    public static TheoryData<string> Folders() => SharedMaterial.Entries(Directory.Exists, "conformance", "models");

    /// <summary>Folders of shared/models/tales-adapters.</summary>
    public static TheoryData<string> Adapters() => SharedMaterial.Entries(Directory.Exists, "models", "tales-adapters");

    [Theory]
    [MemberData(nameof(Folders))]
    public void A_conformance_folder_opens(string name)
    {
        Assert.SkipWhen(name == SharedMaterial.Missing, "shared/conformance/models is absent");
        string path = SharedMaterial.Path("conformance", "models", name);
        using (HuggingFaceFolder folder = Assert.IsType<HuggingFaceFolder>(ModelFiles.Open(path)))
        {
            CheckTensors(folder);
            Assert.Equal(System.Text.Json.JsonValueKind.String, folder.Config.GetProperty("model_type").ValueKind);
        }

        if (File.Exists(Path.Combine(path, "model.gguf")))
        {
            using ModelSource gguf = ModelFiles.Open(Path.Combine(path, "model.gguf"));
            CheckTensors(gguf);
            Assert.NotEmpty(Assert.IsType<GgufFile>(gguf).Metadata.GetString("general.architecture"));
        }
    }

    [Fact]
    public void Both_forms_of_infinity_are_read()
    {
        using HuggingFaceFolder folder = HuggingFaceFolder.Open(SharedMaterial.Path("conformance", "models", "bamba"));
        System.Text.Json.JsonElement limit = folder.Config.GetProperty("time_step_limit");
        Assert.Equal(double.PositiveInfinity, JsonFile.GetDouble(limit[1]));
        Assert.True(double.IsFinite(JsonFile.GetDouble(limit[0])));
    }

    [Fact]
    public void Tales_opens_with_its_tokenizer_and_chat_template()
    {
        using HuggingFaceFolder folder = HuggingFaceFolder.Open(SharedMaterial.Path("models", "tales"));
        CheckTensors(folder);
        Assert.NotNull(folder.TokenizerJson);
        Assert.NotNull(folder.GenerationConfig);
        Assert.Contains("<|im_start|>", folder.ChatTemplates["default"]);
    }

    [Theory]
    [MemberData(nameof(Adapters))]
    public void An_adapter_opens(string name)
    {
        Assert.SkipWhen(name == SharedMaterial.Missing, "shared/models/tales-adapters is absent");
        string path = SharedMaterial.Path("models", "tales-adapters", name);
        using PeftAdapter adapter = PeftAdapter.Open(path);
        Assert.Equal(2 * adapter.Rank, adapter.Alpha);
        Assert.NotEmpty(adapter.Pairs);
        Assert.All(adapter.Pairs, p =>
        {
            Assert.Equal(2f, p.Scale);
            Assert.Equal(adapter.Rank, p.A.Shape[0]);
            Assert.Contains(p.Module.Split('.')[^1], adapter.TargetModules);
        });
        using HuggingFaceFolder model = HuggingFaceFolder.Open(SharedMaterial.Path("models", "tales"));
        Assert.All(adapter.Pairs, p => Assert.True(model.TryGetTensor(p.Module + ".weight", out TensorView w) && w.Shape[0] == p.B.Shape[0] && w.Shape[1] == p.A.Shape[1]));
        Assert.Contains("adapter", Assert.Throws<ModelFormatException>(() => ModelFiles.Open(path)).Message);
    }

    private static void CheckTensors(ModelSource source)
    {
        Assert.NotEmpty(source.Tensors);
        long bytes = 0;
        foreach (TensorView tensor in source.Tensors)
        {
            Assert.Equal(tensor.Format.ByteCount(tensor.ElementCount), tensor.ByteCount);
            Assert.True(source.TryGetTensor(tensor.Name, out TensorView found) && found.Data == tensor.Data);
            bytes += tensor.ByteCount;
        }

        Assert.True(bytes <= source.FileBytes);
    }
}
