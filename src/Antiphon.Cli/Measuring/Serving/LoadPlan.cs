namespace Antiphon.Cli;

/// <summary>Which requests are sent, and when.</summary>
/// <param name="Requests">In order of <see cref="PlannedRequest.At"/>.</param>
/// <param name="Clients">Clients of a closed loop, each of which sends its next request when it has its answer; null: requests go out when they are due.</param>
/// <param name="Description">For people.</param>
internal sealed record LoadPlan(IReadOnlyList<PlannedRequest> Requests, int? Clients, string Description)
{
    /// <summary>Requests of one size that come by chance, independent of each other (a Poisson process), at a rate per second.</summary>
    public static LoadPlan Poisson(int count, double rate, Size size, int seed)
    {
        var random = new Random(seed);
        var requests = new List<PlannedRequest>(count);
        double at = 0;
        for (int i = 0; i < count; i++)
        {
            requests.Add(size.Request(at, i));
            at += -Math.Log(1 - random.NextDouble()) / rate;
        }

        return new LoadPlan(requests, null, FormattableString.Invariant($"{count} requests at {rate:0.###}/s (Poisson), {size}"));
    }

    /// <summary>Clients that each wait for their answer before they ask again.</summary>
    public static LoadPlan Closed(int count, int clients, Size size) =>
        new([.. Enumerable.Range(0, count).Select(i => size.Request(0, i))], clients, $"{count} requests by {clients} clients, {size}");

    /// <summary>The size of generated requests.</summary>
    /// <param name="Prompt">Tokens of a prompt.</param>
    /// <param name="Output">Tokens of an answer.</param>
    /// <param name="SharedPercent">Percent of the prompt, from its beginning, that all have in common.</param>
    internal sealed record Size(int Prompt, int Output, int SharedPercent)
    {
        private const long SharedSeed = -1;

        public PlannedRequest Request(double at, int index)
        {
            int shared = (int)((long)Prompt * SharedPercent / 100);
            List<PromptPart> parts = [];
            if (shared > 0)
            {
                parts.Add(new PromptPart(SharedSeed, shared));
            }

            if (shared < Prompt)
            {
                parts.Add(new PromptPart(index, Prompt - shared));
            }

            return new PlannedRequest(at, parts, Output);
        }

        public override string ToString() => $"{Prompt} + {Output} tokens" + (SharedPercent > 0 ? $", {SharedPercent} % shared" : "");
    }
}
