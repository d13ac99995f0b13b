namespace Nibble.Repo.Tests;

/// <summary>An assertion that shows everything it found.</summary>
internal static class Check
{
    /// <summary>Fails with all problems, a line each, where there are any.</summary>
    public static void None<T>(IEnumerable<T> problems)
    {
        List<T> all = [.. problems];
        Assert.True(all.Count == 0, string.Join('\n', all));
    }
}
