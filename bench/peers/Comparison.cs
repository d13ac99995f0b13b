using System.ComponentModel;

namespace Peers;

/// <summary>Measures groups: all sides warm up, then take turns, round by round.</summary>
/// <param name="sides">Makes the sides of a group.</param>
/// <param name="rounds">Rounds.</param>
/// <param name="log">Told of every turn.</param>
internal sealed class Comparison(Func<Group, IEnumerable<Side>> sides, int rounds, TextWriter log)
{
    /// <summary>Measures a group.</summary>
    /// <param name="group">The group.</param>
    public GroupResult Run(Group group)
    {
        Entry[] entries = [.. sides(group).Select(side => new Entry(side, group))];
        try
        {
            foreach (Entry entry in entries)
            {
                log.WriteLine($"{Title(group)}: {entry.Side.Name} starts");
                entry.Try(() => entry.Side.Start());
            }

            for (int round = 0; round < rounds; round++)
            {
                // Each is first in turn, so that a machine that slows down during a round does not slow the same side down each time.
                for (int i = 0; i < entries.Length; i++)
                {
                    Entry entry = entries[(i + round) % entries.Length];
                    entry.Try(() => entry.Add(entry.Side.Turn()));
                    log.WriteLine($"{Title(group)}: round {round + 1} of {rounds}, {entry.Side.Name}: {entry.Last}");
                }
            }

            GroupResult result = new(group, [.. entries.Select(entry => entry.Result())]);
            log.WriteLine($"{Title(group)}: {Report.Summary(result)}");
            return result;
        }
        finally
        {
            foreach (Entry entry in entries) entry.Side.Dispose();
        }
    }

    private static string Title(Group group) => $"{group.ModelName} -t {group.Threads} --kv {group.Kv} -d {group.Depth}";

    // A side with what it has answered so far; once it has failed it is left alone.
    private sealed class Entry(Side side, Group group)
    {
        private readonly List<double>[] _rates = [.. Enumerable.Range(0, side.Name == SideNames.Bandwidth ? 1 : group.Tests.Length).Select(_ => new List<double>())];
        private string? _error;

        public Side Side => side;

        public string Last => _error ?? (side.Name == SideNames.Bandwidth
            ? $"{_rates[0][^1] * 1e-9:0.0} GB/s"
            : string.Join(", ", group.Tests.Select((test, i) => $"{test.Name(group.Depth)} {(_rates[i].Count > 0 ? _rates[i][^1].ToString("0.00", null) : "cannot")}")));

        public void Try(Action action)
        {
            if (_error is not null) return;
            try
            {
                action();
            }
            catch (Exception error) when (error is PeerException or Win32Exception or IOException)
            {
                _error = error.Message;
            }
        }

        public void Add(double?[] rates)
        {
            for (int i = 0; i < rates.Length; i++)
                if (rates[i] is { } rate) _rates[i].Add(rate);
        }

        public SideResult Result()
        {
            Loaded? loaded = null;
            Try(() => loaded = side.Describe());
            return new SideResult(side.Name, loaded, [.. _rates.Select(rates => rates.ToArray())], _error);
        }
    }
}
