namespace Antiphon.Engine;

/// <summary>Choices in the order of a policy.</summary>
internal sealed class ChoiceQueue(ISchedulingPolicy policy)
{
    private readonly List<Choice> choices = [];

    public int Count => choices.Count;

    public Choice First => choices[0];

    public Choice Last => choices[^1];

    public Choice this[int index] => choices[index];

    public void Add(Choice choice)
    {
        int low = 0;
        int high = choices.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = policy.Compare(choices[middle].Entry, choice.Entry) < 0 ? (middle + 1, high) : (low, middle);
        }

        choices.Insert(low, choice);
    }

    public bool Remove(Choice choice) => choices.Remove(choice);
}
