using System.Collections.Concurrent;
using System.Security.Cryptography;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Sessions;

/// <summary>
/// Sessions of models with recurrent states and with sliding windows: forked, rewound, restored, cancelled, shifted, or with a prefix used again, they go on as an uninterrupted one
/// does, bit for bit with exact arithmetic, and say how much they evaluate again.
/// </summary>
public sealed class RecurrentSessionTests : IDisposable
{
    private const int Batch = 8;

    private static readonly ConcurrentDictionary<string, float[]> s_expected = [];

    private readonly Backend _backend = TestModels.Open("cpu-exact");
    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-recurrent-").FullName;
    private readonly Dictionary<string, LanguageModel> _models = [];
    private readonly int[] _ids = [.. TestModels.Tokens.Select(id => id % TinyRecurrent.Vocabulary)];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        foreach (LanguageModel model in _models.Values)
            model.Dispose();
        _backend.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [MemberData(nameof(TinyRecurrent.Names), MemberType = typeof(TinyRecurrent))]
    public void Logits_depend_on_order_and_neither_on_batches_nor_on_the_room_of_the_session(string name)
    {
        float[] expected = Expected(name, 0, 60);
        Assert.DoesNotContain(float.NaN, expected);
        int[] swapped = [.. _ids[..60]];
        (swapped[56], swapped[57]) = (swapped[57], swapped[56]);
        using (Session other = NewSession(name))
            Assert.InRange(Nmse.Of(TestModels.Logits(other, swapped).AsSpan(59 * TinyRecurrent.Vocabulary), expected.AsSpan(59 * TinyRecurrent.Vocabulary)), 1e-5, 10);

        foreach (int batch in new[] { 1, 7, 64 })
        {
            using LanguageModel model = TestModels.Load(PathOf(name), _backend, batch);

            // A window of 6 and a batch of 7 or 64 need 12 or 69 rows; here are 60 and 96.
            using Session exact = TestModels.ExactSession(model, context: 60), larger = TestModels.ExactSession(model, context: 96);
            Assert.Equal(expected, TestModels.Logits(exact, _ids.AsSpan(0, 60)));
            Assert.Equal(expected, TestModels.Logits(larger, _ids.AsSpan(0, 60)));
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(8)]
    [InlineData(12)]
    [InlineData(13)]
    public void A_session_smaller_than_window_and_batch_gives_the_same_logits(int context)
    {
        using Session session = NewSession("window", context);
        Assert.Equal(Expected("window", 0, context), TestModels.Logits(session, _ids.AsSpan(0, context)));
        session.Rewind(1, Cancellation);
        Assert.Equal(Expected("window", 1, context - 1), TestModels.Logits(session, _ids.AsSpan(1, context - 1)));
    }

    [Theory]
    [MemberData(nameof(TinyRecurrent.Names), MemberType = typeof(TinyRecurrent))]
    public void A_fork_goes_on_as_its_parent_does_and_leaves_it_alone(string name)
    {
        using Session parent = NewSession(name);
        parent.Prefill(_ids.AsSpan(0, 25), Cancellation);
        parent.Evaluate(_ids.AsSpan(25, 5), Cancellation);
        using Session fork = parent.Fork();
        Assert.Equal(parent.Logits.ToArray(), fork.Logits.ToArray());
        TestModels.Logits(fork, [1, 2, 3]);
        float[] expected = Expected(name, 30, 20);
        Assert.Equal(expected, TestModels.Logits(parent, _ids.AsSpan(30, 20)));

        // The fork has a copy of its parent's checkpoint, which outlives the parent.
        parent.Dispose();
        Assert.Equal(fork.IsRecurrent ? 5 : 0, fork.RewindCost(30));
        fork.Rewind(30, Cancellation);
        Assert.Equal(expected, TestModels.Logits(fork, _ids.AsSpan(30, 20)));
    }

    [Theory]
    [MemberData(nameof(TinyRecurrent.Recurrent), MemberType = typeof(TinyRecurrent))]
    public void Rewinding_to_a_checkpoint_costs_nothing_and_brings_the_logits_back(string name)
    {
        using Session session = NewSession(name);
        session.Evaluate(_ids.AsSpan(0, 30), Cancellation);
        float[] logits = session.Logits.ToArray();
        session.Checkpoint();
        session.Evaluate([5, 6, 7, 8], Cancellation);
        Assert.Equal(0, session.RewindCost(30));
        Assert.Equal(0, session.Rewind(30, Cancellation));
        Assert.Equal(logits, session.Logits.ToArray());
        Assert.Equal(_ids[..30], session.Tokens.ToArray());
        Assert.Equal(Expected(name, 30, 30), TestModels.Logits(session, _ids.AsSpan(30, 30)));

        // From the checkpoint on tokens are evaluated again, where the layers with a window still have what they need.
        int cost = name == "lfm2-window" ? 57 : 27;
        Assert.Equal(cost, session.RewindCost(57));
        Assert.Equal(cost, session.Rewind(57, Cancellation));
        Assert.Equal(Expected(name, 57, 3), TestModels.Logits(session, _ids.AsSpan(57, 3)));
    }

    [Theory]
    [MemberData(nameof(TinyRecurrent.Recurrent), MemberType = typeof(TinyRecurrent))]
    public void Without_a_checkpoint_everything_is_evaluated_again_and_the_session_says_so(string name)
    {
        using Session session = NewSession(name);
        session.Evaluate(_ids.AsSpan(0, 30), Cancellation);
        Assert.Equal(0, session.RewindCost(30));
        Assert.Equal(0, session.Rewind(30, Cancellation));
        Assert.True(session.HasLogits);
        Assert.Equal(29, session.RewindCost(29));
        Assert.Equal(29, session.Rewind(29, Cancellation));
        Assert.Equal(_ids[..29], session.Tokens.ToArray());
        Assert.Equal(Expected(name, 28, 1), session.Logits.ToArray());
        Assert.Equal(Expected(name, 29, 20), TestModels.Logits(session, _ids.AsSpan(29, 20)));
        Assert.Equal(0, session.Rewind(0, Cancellation));
        Assert.False(session.HasLogits);
        Assert.Equal(Expected(name, 0, 20), TestModels.Logits(session, _ids.AsSpan(0, 20)));
    }

    [Fact]
    public void The_newest_four_checkpoints_are_kept()
    {
        using Session session = NewSession("mamba2");
        for (int i = 0; i < 6; i++)
        {
            session.Evaluate(_ids.AsSpan(4 * i, 4), Cancellation);
            session.Checkpoint();
            session.Checkpoint();
        }

        Assert.Equal([0, 1, 4, 8, 11, 0, 1, 0], new[] { 0, 1, 4, 8, 11, 12, 13, 24 }.Select(session.RewindCost));
        Assert.Equal(0, session.Rewind(16, Cancellation));
        Assert.Equal([0, 3, 0], new[] { 12, 15, 16 }.Select(session.RewindCost));
        Assert.Equal(Expected("mamba2", 16, 8), TestModels.Logits(session, _ids.AsSpan(16, 8)));
    }

    [Fact]
    public void A_window_goes_back_as_far_as_its_rows_reach_and_farther_by_evaluating_again()
    {
        // 6 - 1 + 8 rows: of 40 positions those from 27 on are there, enough to see 5 back from 32 on.
        using Session session = NewSession("window");
        session.Evaluate(_ids.AsSpan(0, 40), Cancellation);
        Assert.Equal([0, 0, 0, 31, 1, 0], new[] { 40, 33, 32, 31, 1, 0 }.Select(session.RewindCost));
        Assert.Equal(0, session.Rewind(32, Cancellation));
        Assert.False(session.HasLogits);
        float[] expected = Expected("window", 32, 5);
        Assert.Equal(expected, TestModels.Logits(session, _ids.AsSpan(32, 5)));

        // Rows of 37 to 39 are of tokens that are gone, so that no more is there than before.
        Assert.Equal([0, 31], new[] { 32, 31 }.Select(session.RewindCost));
        Assert.Equal(0, session.Rewind(32, Cancellation));
        Assert.Equal(expected, TestModels.Logits(session, _ids.AsSpan(32, 5)));
        Assert.Equal(20, session.Rewind(20, Cancellation));
        Assert.Equal(Expected("window", 20, 20), TestModels.Logits(session, _ids.AsSpan(20, 20)));
    }

    [Theory]
    [MemberData(nameof(TinyRecurrent.Names), MemberType = typeof(TinyRecurrent))]
    public void A_restored_session_goes_on_where_it_was_saved(string name)
    {
        string path = Path.Combine(_folder, "state");
        float[] logits;
        using (Session saved = NewSession(name))
        {
            saved.Evaluate(_ids.AsSpan(0, 33), Cancellation);
            logits = saved.Logits.ToArray();
            saved.Save(path, "note"u8);
        }

        // Room and batches differ from those of the saved session, and so do the rows of a window.
        using LanguageModel model = TestModels.Load(PathOf(name), _backend, batch: 3);
        using Session session = TestModels.ExactSession(model, context: 70);
        session.Evaluate([9, 9, 9, 9, 9], Cancellation);
        session.Checkpoint();
        session.Restore(path);
        Assert.Equal(_ids[..33], session.Tokens.ToArray());
        Assert.Equal(logits, session.Logits.ToArray());
        Assert.Equal(Expected(name, 33, 30), TestModels.Logits(session, _ids.AsSpan(33, 30)));

        session.Restore(path);
        Assert.Equal(31, session.Rewind(31, Cancellation));
        Assert.Equal(Expected(name, 31, 30), TestModels.Logits(session, _ids.AsSpan(31, 30)));
    }

    [Fact]
    public void A_restored_window_goes_back_by_one_at_no_cost()
    {
        string path = Path.Combine(_folder, "state");
        using Session session = NewSession("window");
        session.Evaluate(_ids.AsSpan(0, 33), Cancellation);
        session.Save(path);
        session.Rewind(0, Cancellation);
        session.Restore(path);
        Assert.Equal([0, 0, 31], new[] { 33, 32, 31 }.Select(session.RewindCost));
        session.Rewind(32, Cancellation);
        Assert.Equal(Expected("window", 32, 20), TestModels.Logits(session, _ids.AsSpan(32, 20)));
        Assert.Equal(0, session.RewindCost(50));
        session.Rewind(50, Cancellation);
        Assert.Equal(Expected("window", 50, 4), TestModels.Logits(session, _ids.AsSpan(50, 4)));
    }

    [Theory]
    [MemberData(nameof(TinyRecurrent.Names), MemberType = typeof(TinyRecurrent))]
    public void A_batch_that_was_broken_off_leaves_no_trace(string name)
    {
        using Session session = NewSession(name);
        session.Prefill(_ids.AsSpan(0, 20), Cancellation);
        session.Evaluate(_ids.AsSpan(20, 3), Cancellation);
        BreakOff(session);
        Assert.Equal(23, session.Length);
        Assert.False(session.HasLogits);
        Assert.Equal(session.IsRecurrent ? 3 : 0, session.RewindCost(23));
        Assert.Equal(Expected(name, 23, 20), TestModels.Logits(session, _ids.AsSpan(23, 20)));

        // Broken off, then again while it mends itself: the tokens come first in the next call.
        BreakOff(session);
        BreakOff(session);
        Assert.Equal(!session.IsRecurrent ? 43 : name == "lfm2-window" ? 0 : 20, session.Length);
        using Session fork = session.Fork();
        foreach (Session other in new[] { session, fork })
        {
            other.Evaluate(_ids.AsSpan(43, 1), Cancellation);
            Assert.Equal(_ids[..44], other.Tokens.ToArray());
            Assert.Equal(Expected(name, 44, 10), TestModels.Logits(other, _ids.AsSpan(44, 10)));
        }
    }

    [Theory]
    [MemberData(nameof(TinyRecurrent.Names), MemberType = typeof(TinyRecurrent))]
    public void A_session_whose_batch_was_broken_off_can_be_rewound_saved_and_prefilled(string name)
    {
        string path = Path.Combine(_folder, "state");
        using Session session = NewSession(name), restored = NewSession(name);
        session.Evaluate(_ids.AsSpan(0, 20), Cancellation);
        BreakOff(session);
        session.Save(path);
        restored.Restore(path);
        Assert.Equal(Expected(name, 20, 5), TestModels.Logits(restored, _ids.AsSpan(20, 5)));

        BreakOff(session);
        session.Rewind(18, Cancellation);
        Assert.Equal(Expected(name, 18, 5), TestModels.Logits(session, _ids.AsSpan(18, 5)));

        BreakOff(session);
        session.Prefill(_ids.AsSpan(0, 22), Cancellation);
        Assert.Equal(Expected(name, 21, 1), session.Logits.ToArray());
        BreakOff(session);
        session.Prefill(_ids.AsSpan(0, 22), Cancellation);
        Assert.Equal(Expected(name, 21, 1), session.Logits.ToArray());
    }

    [Theory]
    [MemberData(nameof(TinyRecurrent.Names), MemberType = typeof(TinyRecurrent))]
    public void Cancellation_keeps_whole_batches(string name)
    {
        using Session session = NewSession(name);
        using CancellationTokenSource source = new();
        Assert.ThrowsAny<OperationCanceledException>(() => session.Evaluate(
            _ids.AsSpan(0, 40),
            0,
            (position, _) =>
            {
                if (position == 9) source.Cancel();
            },
            source.Token));
        Assert.Equal(16, session.Length);
        Assert.Equal(Expected(name, 16, 20), TestModels.Logits(session, _ids.AsSpan(16, 20)));
    }

    [Theory]
    [MemberData(nameof(TinyRecurrent.Names), MemberType = typeof(TinyRecurrent))]
    public void A_context_shift_drops_the_older_half_and_recomputes_the_rest(string name)
    {
        int[] expected = [.. _ids[..4], .. _ids[12..21]];
        using Session fresh = NewSession(name), session = Model(name).NewSession(new SessionOptions { Context = 20, KvFormat = BlockFormats.F32, ContextShift = true, Keep = 4 });
        fresh.Evaluate(expected, Cancellation);
        session.Evaluate(_ids.AsSpan(0, 20), Cancellation);
        using Session cancelled = session.Fork();
        session.Evaluate(_ids.AsSpan(20, 1), Cancellation);
        Assert.Equal(1, session.ContextShifts);
        Assert.Equal(expected, session.Tokens.ToArray());
        Assert.Equal(fresh.Logits.ToArray(), session.Logits.ToArray());

        // Cancelled, a shift is finished by the next call; until then nothing can be saved.
        Assert.ThrowsAny<OperationCanceledException>(() => cancelled.Evaluate(_ids.AsSpan(20, 1), new CancellationToken(canceled: true)));
        Assert.Throws<InvalidOperationException>(() => cancelled.Save(Path.Combine(_folder, "state")));
        cancelled.Evaluate(_ids.AsSpan(20, 1), Cancellation);
        Assert.Equal(1, cancelled.ContextShifts);
        Assert.Equal(expected, cancelled.Tokens.ToArray());
        Assert.Equal(fresh.Logits.ToArray(), cancelled.Logits.ToArray());
    }

    // Of 31 positions a window's 13 rows hold those from 18 on, too few for 6 before position 20.
    [Theory]
    [InlineData("lfm2", 28, 20, 20)]
    [InlineData("qwen35", 28, 20, 20)]
    [InlineData("mamba2", 28, 20, 20)]
    [InlineData("lfm2-window", 28, 0, 0)]
    [InlineData("window", 27, 24, 0)]
    public void A_prefill_says_how_many_tokens_it_did_not_evaluate(string name, int again, int changed, int back)
    {
        using Session session = NewSession(name);
        Assert.Equal(0, session.Prefill(_ids.AsSpan(0, 20), Cancellation));
        float[] first = session.Logits.ToArray();
        session.Evaluate(_ids.AsSpan(20, 4), Cancellation);

        // The answer and the next question.
        Assert.Equal(24, session.Prefill(_ids.AsSpan(0, 28), Cancellation));
        Assert.Equal(Expected(name, 27, 1), session.Logits.ToArray());
        Assert.Equal(28, session.Prefill(_ids.AsSpan(0, 28), Cancellation));

        // Another answer to the last question: the checkpoint has its logits; others evaluate its last token again.
        session.Evaluate([3, 3, 3], Cancellation);
        Assert.Equal(again, session.Prefill(_ids.AsSpan(0, 28), Cancellation));
        Assert.Equal(Expected(name, 27, 1), session.Logits.ToArray());

        // Another question to the first answer: what stands before it is evaluated again from the end of the first question.
        int[] other = [.. _ids[..24], 1, 2, 3];
        Assert.Equal(changed, session.Prefill(other, Cancellation));
        Assert.Equal(other, session.Tokens.ToArray());
        using Session fresh = NewSession(name);
        fresh.Evaluate(other, Cancellation);
        Assert.Equal(fresh.Logits.ToArray(), session.Logits.ToArray());

        // Back to the first question.
        Assert.Equal(back, session.Prefill(_ids.AsSpan(0, 20), Cancellation));
        Assert.Equal(first, session.Logits.ToArray());
    }

    [Fact]
    public void A_state_file_whose_states_have_another_size_is_refused()
    {
        string path = Path.Combine(_folder, "state");
        using Session session = NewSession("lfm2");
        session.Evaluate(_ids.AsSpan(0, 3), Cancellation);
        session.Save(path);
        byte[] file = File.ReadAllBytes(path)[..^32];

        // Magic, version, fingerprint, format, layers, two layers of five numbers; then values of all states: 2 x 2 rows of 16.
        int place = 8 + 4 + 32 + 4 + 4 + (2 * 20);
        Assert.Equal(64u, BitConverter.ToUInt32(file, place));
        file[place] = 65;
        File.WriteAllBytes(path, [.. file, .. SHA256.HashData(file)]);
        Assert.Throws<SessionStateException>(() => session.Restore(path));
        Assert.Equal(3, session.Length);
    }

    // As a batch that is cancelled between two layers: states of no position, keys and values behind the session's length, no exception but the cancellation.
    private static void BreakOff(Session session)
    {
        for (int i = 0; i < session.State.States.Length; i++)
            session.State.WriteState(i, Enumerable.Repeat(float.NaN, session.State.States[i].Rows * session.State.States[i].Columns).ToArray());
        Assert.ThrowsAny<OperationCanceledException>(() => session.Evaluate([1, 2, 3], new CancellationToken(canceled: true)));
    }

    private string PathOf(string name)
    {
        string path = Path.Combine(_folder, name + ".gguf");
        if (!File.Exists(path)) TinyRecurrent.Write(name, path);
        return path;
    }

    private LanguageModel Model(string name)
    {
        if (!_models.TryGetValue(name, out LanguageModel? model)) _models.Add(name, model = TestModels.Load(PathOf(name), _backend, Batch));
        return model;
    }

    private Session NewSession(string name, int context = 128) => TestModels.ExactSession(Model(name), context);

    /// <summary>Logits of ids [start, start + count) of a session that evaluated all before, token by token.</summary>
    private float[] Expected(string name, int start, int count)
    {
        float[] logits = s_expected.GetOrAdd(name, _ =>
        {
            using Session session = NewSession(name);
            List<float> all = [];
            foreach (int id in _ids)
            {
                session.Evaluate([id], Cancellation);
                all.AddRange(session.Logits);
            }

            return [.. all];
        });
        return logits.AsSpan(start * TinyRecurrent.Vocabulary, count * TinyRecurrent.Vocabulary).ToArray();
    }
}
