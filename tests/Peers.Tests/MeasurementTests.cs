namespace Peers.Tests;

/// <summary>What is made of samples and logs.</summary>
public class MeasurementTests
{
    [Theory]
    [InlineData(2, new double[] { 3, 1, 2 })]
    [InlineData(2.5, new double[] { 4, 1, 3, 2 })]
    [InlineData(7, new double[] { 7 })]
    public void The_median_is_the_middle(double expected, double[] values) => Assert.Equal(expected, Statistics.Median(values));

    [Fact]
    public void The_spread_is_half_of_the_range_as_a_share_of_the_median() => Assert.Equal(0.25, Statistics.Spread([10, 12, 8, 13, 10]), 1e-12);

    [Fact]
    public void The_peer_is_the_faster_build_of_llama_cpp_in_each_test()
    {
        Group group = new("m.gguf", 2, "f16", 0, [new Test(TestKind.Prefill, 512), new Test(TestKind.Decode, 64)]);
        SideResult npm = new(SideNames.Npm, null, [[100, 110, 105], [30, 31, 32]], null), native = new(SideNames.Native, null, [[120, 90, 115], [20, 21, 22]], null);
        GroupResult result = new(group, [new SideResult(SideNames.Nibble, null, [[200], [50]], null), npm, native, new SideResult(SideNames.Ik, null, [[900], [900]], null)]);
        Assert.Same(native, result.Peer(0));
        Assert.Same(npm, result.Peer(1));
        Assert.Same(npm, new GroupResult(group, [npm, native with { Error = "died" }]).Peer(0));
        Assert.Null(new GroupResult(group, []).Peer(0));
    }

    [Fact]
    public void The_log_of_llama_cpp_tells_where_weights_went_and_whether_attention_is_fused()
    {
        // Lines of llama.cpp v0.5.0.
        const string log = """
            load_tensors:   CPU_Mapped model buffer size =   590.41 MiB
            load_tensors:          AMX model buffer size =   554.91 MiB
            llama_context: flash_attn            = auto
            llama_kv_cache:        CPU KV buffer size =    11.00 MiB
            sched_reserve: Flash Attention enabled
            """;
        Assert.Equal(["CPU_Mapped 590.41 MiB", "AMX 554.91 MiB", "KV 11.00 MiB", "flash attention enabled"], LogFacts.Of(log));
    }
}
