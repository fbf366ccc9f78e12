namespace Antiphon.Tests;

/// <summary>What this process takes.</summary>
internal static class Memory
{
    /// <summary>Resident bytes, after what managed memory nobody uses was given up.</summary>
    public static long Resident()
    {
        for (int i = 0; i < 3; i++)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }

        return Environment.WorkingSet;
    }
}
