namespace Peers.Tests;

/// <summary>A shell script that answers as llama-bench does: 2000 tokens per second for prompts and 100 for single tokens.</summary>
internal static class FakeBench
{
    public const double PrefillRate = 2000, DecodeRate = 100;

    /// <summary>Writes llama.cpp's.</summary>
    /// <param name="path">The script.</param>
    public static void WriteLlama(string path) => Write(path, "  -d, --n-depth <n>  (default: 0)", "", """
        [ -n "$depth" ] || depth=0
        entry "$prompt" 0 $((prompt * 500000))
        entry 0 "$single" $((single * 10000000))
        """);

    /// <summary>Writes ik_llama.cpp's, which knows no depth: -gp is for tokens after a prompt, and lines come before the JSON.</summary>
    /// <param name="path">The script.</param>
    public static void WriteIk(string path) => Write(path, "  -gp <pp,tg>  (default: )", "echo 'ggml: a line before'", """
        [ -z "$depth" ] || { echo "error: invalid parameter for argument: -d" >&2; exit 1; }
        [ "$prompt" = 0 ] || entry "$prompt" 0 $((prompt * 500000))
        [ "$single" = 0 ] || entry 0 "$single" $((single * 10000000))
        [ -z "$pair" ] || entry "${pair%,*}" "${pair#*,}" $((${pair#*,} * 10000000))
        """);

    /// <summary>Writes one that fails.</summary>
    /// <param name="path">The script.</param>
    public static void WriteBroken(string path) => WriteScript(path, "#!/bin/sh\n[ \"$1\" = --help ] && exit 0\necho 'main: error: failed to load model' >&2\nexit 3\n");

    private static void Write(string path, string help, string before, string body) => WriteScript(path, $$"""
        #!/bin/sh
        if [ "$1" = --help ]; then echo "{{help}}"; exit 0; fi
        prompt=0; single=0; depth=; pair=
        while [ $# -gt 0 ]; do
            case "$1" in
                -p) prompt=$2; shift ;;
                -n) single=$2; shift ;;
                -d) depth=$2; shift ;;
                -gp) pair=$2; shift ;;
                -v) echo "load_tensors:          AMX model buffer size =     1.50 MiB" >&2 ;;
            esac
            shift
        done
        comma=
        entry() {
            printf '%s  { "build_commit": "abc1234", "build_number": 7, "n_prompt": %s, "n_gen": %s, "avg_ns": %s }\n' "$comma" "$1" "$2" "$3"
            comma=,
        }
        {{before}}
        echo "["
        {{body}}
        echo "]"

        """);

    private static void WriteScript(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }
}
