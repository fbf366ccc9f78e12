using System.Text;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.Tokenizers;

/// <summary>Encoding speed by processor time (of the whole process: run this class alone), printed; far under the aim of 2 MB/s a core it fails, with room for a busy machine and a debug build.</summary>
public class TokenizerSpeedTests(ITestOutputHelper output)
{
    public static TheoryData<string> Folders() => TokenizerCases.HuggingFace();

    [Theory]
    [MemberData(nameof(Folders))]
    public void English_text(string name) => Measure(name, File.ReadAllText(SharedMaterial.Path("data", "tiny-shakespeare", "input.txt")));

    [Theory]
    [MemberData(nameof(Folders))]
    public void A_word_of_a_million_letters(string name)
    {
        string letters = string.Concat(File.ReadAllText(SharedMaterial.Path("data", "tiny-shakespeare", "input.txt")).Where(char.IsAsciiLetter));
        Measure(name, string.Concat(letters, letters)[..1_000_000]);
    }

    private void Measure(string name, string text)
    {
        Tokenizer tokenizer = TokenizerCases.OfFolder(name);
        tokenizer.Encode(text[..20_000]);
        double best = double.MaxValue;
        for (int round = 0; round < 3; round++)
        {
            TimeSpan start = Environment.CpuUsage.TotalTime;
            tokenizer.Encode(text, addSpecialTokens: false);
            best = Math.Min(best, (Environment.CpuUsage.TotalTime - start).TotalSeconds);
        }

        double speed = Encoding.UTF8.GetByteCount(text) / best / 1e6;
        output.WriteLine($"{name}: {speed:F2} MB/s");
        Assert.True(speed > 0.1, $"{speed:F2} MB/s");
    }
}
