using System.Runtime.InteropServices;

namespace SamplerGoldens;

/// <summary>libllama's sampler API, llama.h of v0.5.0. Every call goes to a library whose path is given when the program starts.</summary>
internal static unsafe partial class Llama
{
    public const string Library = "llama";

    [StructLayout(LayoutKind.Sequential)]
    public struct TokenData
    {
        public int Id;
        public float Logit;
        public float P;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct TokenDataArray
    {
        public TokenData* Data;
        public nuint Size;
        public long Selected;
        public byte Sorted;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct LogitBias
    {
        public int Token;
        public float Bias;
    }

    /// <summary>The three pointers of libstdc++'s std::vector.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct StdVector
    {
        public void* Begin;
        public void* End;
        public void* Capacity;
    }

    [LibraryImport(Library, EntryPoint = "llama_sampler_chain_init")]
    public static partial nint ChainInit(byte noPerf);

    [LibraryImport(Library, EntryPoint = "llama_sampler_chain_add")]
    public static partial void ChainAdd(nint chain, nint sampler);

    [LibraryImport(Library, EntryPoint = "llama_sampler_apply")]
    public static partial void Apply(nint sampler, TokenDataArray* candidates);

    [LibraryImport(Library, EntryPoint = "llama_sampler_accept")]
    public static partial void Accept(nint sampler, int token);

    [LibraryImport(Library, EntryPoint = "llama_sampler_free")]
    public static partial void Free(nint sampler);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_dist")]
    public static partial nint Dist(uint seed);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_top_k")]
    public static partial nint TopK(int k);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_top_p")]
    public static partial nint TopP(float p, nuint minKeep);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_min_p")]
    public static partial nint MinP(float p, nuint minKeep);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_typical")]
    public static partial nint Typical(float p, nuint minKeep);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_temp")]
    public static partial nint Temp(float temp);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_temp_ext")]
    public static partial nint TempExt(float temp, float range, float exponent);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_xtc")]
    public static partial nint Xtc(float probability, float threshold, nuint minKeep, uint seed);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_top_n_sigma")]
    public static partial nint TopNSigma(float n);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_mirostat")]
    public static partial nint Mirostat(int vocabulary, uint seed, float tau, float eta, int m);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_mirostat_v2")]
    public static partial nint MirostatV2(uint seed, float tau, float eta);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_penalties")]
    public static partial nint Penalties(int vocabulary, int lastN, float repeat, float frequency, float presence);

    [LibraryImport(Library, EntryPoint = "llama_sampler_init_logit_bias")]
    public static partial nint LogitBiases(int vocabulary, int count, LogitBias* biases);

    // The variant of llama_sampler_init_dry whose breakers are tokens, so that no vocabulary file is needed: C++, its name mangled as the Itanium ABI does.
    [LibraryImport(Library, EntryPoint = "_Z30llama_sampler_init_dry_testingffiiRKSt6vectorIS_IiSaIiEESaIS1_EE")]
    public static partial nint Dry(float multiplier, float @base, int allowedLength, int lastN, StdVector* breakers);
}
