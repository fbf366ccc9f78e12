using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Chooses and weighs the experts of one token.</summary>
internal static unsafe class Router
{
    /// <summary>Chooses experts, best first.</summary>
    /// <param name="kernels">Kernels.</param>
    /// <param name="mixture">The mixture.</param>
    /// <param name="bias">Added to scores for the choice, or null.</param>
    /// <param name="scores">Router logits of all experts; overwritten.</param>
    /// <param name="selection">Room for as many values.</param>
    /// <param name="chosen">Receives the experts.</param>
    /// <param name="weights">Receives their weights.</param>
    public static void Choose(VectorKernels kernels, MixtureSpec mixture, float* bias, float* scores, float* selection, int* chosen, float* weights)
    {
        RouterSpec router = mixture.Router;
        int experts = mixture.Experts;
        int used = mixture.Used;
        if (router.Score == RouterScore.Softmax)
        {
            kernels.Softmax(scores, experts);
        }
        else if (router.Score == RouterScore.Sigmoid)
        {
            kernels.Sigmoid(scores, experts);
        }

        Buffer.MemoryCopy(scores, selection, experts * sizeof(float), experts * sizeof(float));
        if (bias is not null)
        {
            kernels.Add(bias, selection, experts);
        }

        if (router.Groups > 1)
        {
            DropGroups(kernels, router, selection, experts);
        }

        kernels.TopK(selection, experts, new Span<int>(chosen, used));
        float sum = 0;
        for (int i = 0; i < used; i++)
        {
            weights[i] = scores[chosen[i]];
            sum += weights[i];
        }

        if (router.Score == RouterScore.SoftmaxOfChosen)
        {
            kernels.Softmax(weights, used);
        }
        else if (router.Normalize)
        {
            for (int i = 0; i < used; i++)
            {
                weights[i] /= sum + router.NormalizeEpsilon;
            }
        }

        for (int i = 0; i < used; i++)
        {
            weights[i] *= router.Factor;
        }
    }

    /// <summary>Leaves only the best groups of experts to choose from.</summary>
    private static void DropGroups(VectorKernels kernels, RouterSpec router, float* selection, int experts)
    {
        int size = experts / router.Groups;
        float* groups = stackalloc float[router.Groups];
        Span<int> best = stackalloc int[2];
        for (int group = 0; group < router.Groups; group++)
        {
            float* own = selection + (group * size);
            int found = kernels.TopK(own, size, best[..(router.GroupByTwoBest ? Math.Min(2, size) : 1)]);
            groups[group] = own[best[0]] + (found > 1 ? own[best[1]] : 0);
        }

        Span<int> kept = stackalloc int[router.GroupsUsed];
        kernels.TopK(groups, router.Groups, kept);
        for (int group = 0; group < router.Groups; group++)
        {
            if (!kept.Contains(group))
            {
                new Span<float>(selection + (group * size), size).Fill(float.NegativeInfinity);
            }
        }
    }
}
