using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Sessions;

/// <summary>A session that was forked, rewound, restored or that reused a prefix goes on as an uninterrupted one does, bit for bit with exact arithmetic.</summary>
public sealed class SessionTests : IDisposable
{
    private const int Vocabulary = 128;

    private readonly Backend _backend = TestModels.Open("cpu-exact");
    private readonly LanguageModel _model;
    private readonly int[] _ids = TestModels.Tokens;
    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-session-").FullName;

    public SessionTests() => _model = TestModels.Load(TestModels.Tiny("llama-dense"), _backend);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _model.Dispose();
        _backend.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData("F32")]
    [InlineData("F16")]
    [InlineData("Q8_0")]
    public void A_fork_goes_on_as_its_parent_does_and_leaves_it_alone(string format)
    {
        using Session parent = NewSession(format);
        parent.Evaluate(_ids.AsSpan(0, 40), Cancellation);
        using Session fork = parent.Fork();
        Assert.Equal(parent.Logits.ToArray(), fork.Logits.ToArray());
        float[] other = TestModels.Logits(fork, [1, 2, 3]);
        float[] expected = Uninterrupted(format, 40, 20);
        Assert.Equal(expected, TestModels.Logits(parent, _ids.AsSpan(40, 20)));
        fork.Rewind(40);
        Assert.Equal(expected, TestModels.Logits(fork, _ids.AsSpan(40, 20)));
        Assert.NotEqual(expected[..Vocabulary], other[..Vocabulary]);
    }

    [Theory]
    [InlineData("F32")]
    [InlineData("F16")]
    [InlineData("Q8_0")]
    public void A_rewound_session_goes_on_as_if_the_rest_had_never_been(string format)
    {
        using Session session = NewSession(format);
        session.Evaluate(_ids.AsSpan(0, 30), Cancellation);
        session.Evaluate([5, 6, 7, 8], Cancellation);
        session.Rewind(30);
        Assert.False(session.HasLogits);
        Assert.Throws<InvalidOperationException>(() => session.Logits[0]);
        Assert.Equal(Uninterrupted(format, 30, 30), TestModels.Logits(session, _ids.AsSpan(30, 30)));
    }

    [Theory]
    [InlineData("F32")]
    [InlineData("F16")]
    [InlineData("Q8_0")]
    public void A_restored_session_goes_on_where_it_was_saved(string format)
    {
        string path = Path.Combine(_folder, "state");
        float[] logits;
        using (Session saved = NewSession(format))
        {
            saved.Evaluate(_ids.AsSpan(0, 33), Cancellation);
            logits = saved.Logits.ToArray();
            saved.Save(path, "note"u8);
        }

        using Session session = NewSession(format);
        session.Evaluate([9, 9, 9], Cancellation);
        byte[] attachment = [];
        session.Restore(path, bytes => attachment = bytes);
        Assert.Equal("note"u8.ToArray(), attachment);
        Assert.Equal(_ids[..33], session.Tokens.ToArray());
        Assert.Equal(logits, session.Logits.ToArray());
        Assert.Equal(Uninterrupted(format, 33, 30), TestModels.Logits(session, _ids.AsSpan(33, 30)));
        Assert.Equal(["state"], Directory.GetFiles(_folder).Select(Path.GetFileName));
    }

    [Fact]
    public void A_prefill_reuses_the_common_prefix_and_gives_the_same_logits()
    {
        using Session session = NewSession("F32");
        Assert.Equal(0, session.Prefill(_ids.AsSpan(0, 50), Cancellation));
        int[] other = [.. _ids[..35], 1, 2, 3];
        Assert.Equal(35, session.Prefill(other, Cancellation));
        Assert.Equal(other, session.Tokens.ToArray());
        using Session fresh = NewSession("F32");
        fresh.Evaluate(other, Cancellation);
        Assert.Equal(fresh.Logits.ToArray(), session.Logits.ToArray());

        Assert.Equal(other.Length, session.Prefill(other, Cancellation));
        Assert.Equal(fresh.Logits.ToArray(), session.Logits.ToArray());
        Assert.Equal(9, session.Prefill(other.AsSpan(0, 10), Cancellation));
        fresh.Rewind(0);
        fresh.Evaluate(other.AsSpan(0, 10), Cancellation);
        Assert.Equal(fresh.Logits.ToArray(), session.Logits.ToArray());
    }

    [Fact]
    public void Too_many_tokens_give_a_typed_error_and_change_nothing()
    {
        using Session session = TestModels.ExactSession(_model, context: 20);
        session.Evaluate(_ids.AsSpan(0, 15), Cancellation);
        float[] before = session.Logits.ToArray();
        ContextOverflowException error = Assert.Throws<ContextOverflowException>(() => session.Evaluate(_ids.AsSpan(15, 6), Cancellation));
        Assert.Equal((15, 6, 20), (error.Length, error.Requested, error.Capacity));
        Assert.Contains("--context", error.Message, StringComparison.Ordinal);
        Assert.Equal(15, session.Length);
        Assert.Equal(before, session.Logits.ToArray());
        Assert.Throws<ContextOverflowException>(() => session.Prefill(_ids.AsSpan(0, 21), Cancellation));
        Assert.Equal(15, session.Length);
        session.Evaluate(_ids.AsSpan(15, 5), Cancellation);
        Assert.Equal(20, session.Length);
    }

    [Fact]
    public void A_context_shift_drops_the_older_half_after_the_kept_tokens_and_recomputes_the_rest()
    {
        using Session session = _model.NewSession(new SessionOptions { Context = 20, KvFormat = BlockFormats.F32, ContextShift = true, Keep = 4 });
        session.Evaluate(_ids.AsSpan(0, 20), Cancellation);
        session.Evaluate(_ids.AsSpan(20, 1), Cancellation);
        Assert.Equal(1, session.ContextShifts);
        int[] expected = [.. _ids[..4], .. _ids[12..21]];
        Assert.Equal(expected, session.Tokens.ToArray());
        using Session fresh = TestModels.ExactSession(_model);
        fresh.Evaluate(expected, Cancellation);
        Assert.Equal(fresh.Logits.ToArray(), session.Logits.ToArray());
        Assert.Throws<ContextOverflowException>(() => session.Evaluate(_ids.AsSpan(0, 17), Cancellation));
    }

    [Fact]
    public void A_cancelled_context_shift_loses_nothing()
    {
        using LanguageModel model = TestModels.Load(TestModels.Tiny("llama-dense"), _backend, batch: 2);
        using Session session = model.NewSession(new SessionOptions { Context = 20, KvFormat = BlockFormats.F32, ContextShift = true, Keep = 4 });
        session.Evaluate(_ids.AsSpan(0, 20), Cancellation);
        using CancellationTokenSource cancelled = new();
        cancelled.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => session.Evaluate(_ids.AsSpan(20, 1), cancelled.Token));
        Assert.Throws<InvalidOperationException>(() => session.Save(Path.Combine(_folder, "state")));
        session.Evaluate(_ids.AsSpan(20, 1), Cancellation);
        Assert.Equal([.. _ids[..4], .. _ids[12..21]], session.Tokens.ToArray());
        Assert.Equal(1, session.ContextShifts);
    }

    [Fact]
    public void A_handler_of_logits_cannot_run_another_session_of_the_model()
    {
        using Session session = NewSession("F32"), other = NewSession("F32");
        Assert.Throws<InvalidOperationException>(() => session.Evaluate(_ids.AsSpan(0, 3), 0, (_, _) => other.Evaluate([1], Cancellation), Cancellation));
    }

    [Fact]
    public void A_forged_state_file_with_huge_counts_is_refused()
    {
        string path = Path.Combine(_folder, "state");
        using Session session = TestModels.ExactSession(_model, context: 8);
        session.Evaluate(_ids.AsSpan(0, 3), Cancellation);
        session.Save(path);
        byte[] good = File.ReadAllBytes(path);
        int counts = 8 + 4 + 32 + 4 + 4 + (2 * 12);
        for (int field = 0; field < 3; field++)
        {
            byte[] bad = [.. good[..^32]];
            BitConverter.GetBytes(0x7fffffff).CopyTo(bad, counts + (4 * field));
            File.WriteAllBytes(path, [.. bad, .. System.Security.Cryptography.SHA256.HashData(bad)]);
            Assert.Throws<SessionStateException>(() => session.Restore(path));
        }
    }

    [Fact]
    public void A_damaged_state_file_is_refused_at_every_byte_and_the_session_stays()
    {
        string path = Path.Combine(_folder, "state");
        using Session session = TestModels.ExactSession(_model, context: 8);
        session.Evaluate(_ids.AsSpan(0, 3), Cancellation);
        session.Save(path);
        byte[] good = File.ReadAllBytes(path);
        session.Evaluate(_ids.AsSpan(3, 2), Cancellation);
        float[] logits = session.Logits.ToArray();
        for (int i = 0; i < good.Length; i += Math.Max(1, good.Length / 97))
        {
            byte[] bad = [.. good];
            bad[i] ^= 0x41;
            File.WriteAllBytes(path, bad);
            Assert.Throws<SessionStateException>(() => session.Restore(path));
            File.WriteAllBytes(path, good[..i]);
            Assert.Throws<SessionStateException>(() => session.Restore(path));
        }

        Assert.Equal(5, session.Length);
        Assert.Equal(logits, session.Logits.ToArray());
    }

    [Fact]
    public void A_state_file_of_another_model_format_or_size_is_refused()
    {
        string path = Path.Combine(_folder, "state");
        using Session session = TestModels.ExactSession(_model, context: 16);
        session.Evaluate(_ids.AsSpan(0, 10), Cancellation);
        session.Save(path);
        using Session half = _model.NewSession(new SessionOptions { Context = 16, KvFormat = BlockFormats.F16 });
        Assert.Contains("F16", Assert.Throws<SessionStateException>(() => half.Restore(path)).Message, StringComparison.Ordinal);
        using Session small = TestModels.ExactSession(_model, context: 9);
        Assert.Contains("10 positions", Assert.Throws<SessionStateException>(() => small.Restore(path)).Message, StringComparison.Ordinal);
        using LanguageModel other = TestModels.Load(TestModels.Tiny("llama-moe"), _backend);
        using Session foreign = TestModels.ExactSession(other);
        Assert.Contains("another model", Assert.Throws<SessionStateException>(() => foreign.Restore(path)).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => session.Restore(path, _ => throw new InvalidDataException()));
        Assert.Equal(10, session.Length);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(7, 1)]
    [InlineData(7, 2)]
    [InlineData(512, 1)]
    [InlineData(512, 3)]
    public void Batch_size_and_threads_do_not_change_exact_logits(int batch, int threads)
    {
        float[] expected = Uninterrupted("F32", 0, _ids.Length);
        using Backend backend = TestModels.Open("cpu-exact", threads);
        using LanguageModel model = TestModels.Load(TestModels.Tiny("llama-dense"), backend, batch);
        using Session session = TestModels.ExactSession(model);
        Assert.Equal(expected, TestModels.Logits(session, _ids));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(7, 2)]
    public void Batch_size_and_threads_change_fast_logits_by_little(int batch, int threads)
    {
        float[] all = FastLogits(512, 2), ours = FastLogits(batch, threads);
        Assert.InRange(Nmse.Of(ours, all), 0, 1e-4);

        float[] FastLogits(int batchTokens, int threadCount)
        {
            using Backend backend = TestModels.Open("cpu", threadCount);
            using LanguageModel model = TestModels.Load(TestModels.SmolLm2, backend, batchTokens);
            using Session session = model.NewSession(new SessionOptions { Context = 64 });
            session.Evaluate(Enumerable.Range(1000, 40).ToArray(), Cancellation);
            return session.Logits.ToArray();
        }
    }

    [Fact]
    public void Cancellation_keeps_whole_batches_and_the_session_goes_on()
    {
        using LanguageModel model = TestModels.Load(TestModels.Tiny("llama-dense"), _backend, batch: 8);
        using Session session = TestModels.ExactSession(model);
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
        Assert.Equal(Uninterrupted("F32", 16, 20), TestModels.Logits(session, _ids.AsSpan(16, 20)));
    }

    [Fact]
    public void Sessions_of_one_model_can_be_used_by_several_threads()
    {
        float[] expected = Uninterrupted("F32", 0, 60);
        Parallel.For(0, 4, _ =>
        {
            using Session session = TestModels.ExactSession(_model);
            float[] logits = new float[60 * Vocabulary];
            for (int i = 0; i < 60; i++)
            {
                session.Evaluate(_ids.AsSpan(i, 1));
                session.Logits.CopyTo(logits.AsSpan(i * Vocabulary));
            }

            Assert.Equal(expected, logits);
        });
    }

    [Fact]
    public void Wrong_ids_and_lengths_are_refused()
    {
        using Session session = TestModels.ExactSession(_model);
        Assert.Throws<ArgumentException>(() => session.Evaluate([], Cancellation));
        Assert.Contains("128", Assert.Throws<ArgumentOutOfRangeException>(() => session.Evaluate([128], Cancellation)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Evaluate([-1], Cancellation));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Rewind(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Rewind(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => _model.NewSession(new SessionOptions { Context = 0 }));
        Assert.Throws<ArgumentException>(() => _model.NewSession(new SessionOptions { KvFormat = BlockFormats.Q4_1 }));
    }

    private Session NewSession(string format) => _model.NewSession(new SessionOptions { Context = 128, KvFormat = BlockFormats.Find(format)! });

    /// <summary>Logits of ids [start, start + count) of a session that evaluated all before.</summary>
    private float[] Uninterrupted(string format, int start, int count)
    {
        using Session session = NewSession(format);
        return TestModels.Logits(session, _ids.AsSpan(0, start + count))[(start * Vocabulary)..];
    }
}
