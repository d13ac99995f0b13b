using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.RegularExpressions;

namespace Peers;

/// <summary>llama.cpp as npm packages it, and the source that comes with it: where they lie, and how they get there.</summary>
/// <param name="folder">The folder that holds them.</param>
internal sealed partial class Fetch(string folder)
{
    /// <summary>The version of the packages; llama.cpp in it is v0.5.0, and <c>LlamaApi</c> is of that version.</summary>
    public const string PackageVersion = "3.22.1";

    /// <summary>The release of llama.cpp in the packages.</summary>
    public const string Release = "v0.5.0";

    // npm's own dist.integrity of these versions.
    private const string LibrariesPackage = "@node-llama-cpp/linux-x64", LibrariesHash = "5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg==";
    private const string SourcePackage = "node-llama-cpp", SourceHash = "bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==";

    /// <summary>The folder of the prebuilt libraries.</summary>
    public string Libraries => Path.Combine(folder, "libraries", "package", "bins", "linux-x64");

    /// <summary>The llama-bench that was built here.</summary>
    public string NativeBench => Path.Combine(Build, "bin", "llama-bench");

    /// <summary>The compiler that it was built with, or null where that is not known.</summary>
    public (string Name, Version Version)? Compiler
    {
        get
        {
            string files = Path.Combine(Build, "CMakeFiles");
            string? path = Directory.Exists(files) ? Directory.GetFiles(files, "CMakeCXXCompiler.cmake", SearchOption.AllDirectories).FirstOrDefault() : null;
            if (path is null) return null;
            string text = File.ReadAllText(path);
            Match name = CompilerName().Match(text), version = CompilerVersion().Match(text);
            return name.Success && version.Success ? (name.Groups["value"].Value, Version.Parse(version.Groups["value"].Value)) : null;
        }
    }

    private string Source => Path.Combine(folder, "source");

    private string Build => Path.Combine(folder, "native");

    /// <summary>Brings the libraries, and builds llama-bench if it is asked for. What is there already stays.</summary>
    /// <param name="withNative">Whether to build.</param>
    /// <param name="jobs">Compilers at a time.</param>
    /// <exception cref="PeerException">A program failed, or a package is not the known one.</exception>
    public void Run(bool withNative, int jobs)
    {
        Directory.CreateDirectory(folder);
        if (!Directory.Exists(Libraries)) Unpack(LibrariesPackage, LibrariesHash, Path.Combine(folder, "libraries"));
        Console.WriteLine($"libraries: {Libraries}");
        if (!withNative) return;
        if (!Directory.Exists(Source))
        {
            string package = Path.Combine(folder, "package"), part = Source + ".part";
            if (!Directory.Exists(package)) Unpack(SourcePackage, SourceHash, package);
            Remove(part);
            Do("git", ["clone", "--quiet", Path.Combine(package, "package", "llama", "gitRelease.bundle"), part]);
            Directory.Move(part, Source);
            Remove(package);
        }

        Do("nice", ["-n", "19", "cmake", "-S", Source, "-B", Build, "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"]);
        CheckCompiler();
        Do("nice", ["-n", "19", "cmake", "--build", Build, "--target", "llama-bench", "-j", jobs.ToString(CultureInfo.InvariantCulture)]);
        Console.WriteLine($"llama-bench: {NativeBench}");
    }

    // GCC's own amxtileintrin.h told the compiler that a tile configuration is 8 bytes long, so that the rest is never stored and the first tile load is an illegal instruction (PR target/114098).
    private void CheckCompiler()
    {
        if (Compiler is not ("GNU", var version) || !Machine.HasFlag("amx_tile")) return;
        bool isRight = version.Major switch { 11 => version.Minor >= 5, 12 => version.Minor >= 4, 13 => version.Minor >= 3, _ => version.Major > 13 };
        if (!isRight)
            throw new PeerException($"GCC {version} compiles the AMX kernels of this processor wrongly (PR target/114098, mended in 11.5, 12.4, 13.3 and 14.1). Name another compiler in the environment, such as CC=clang CXX=clang++, remove '{Build}', and fetch again.");
    }

    // npm pack brings one package without its dependencies and runs none of its scripts.
    private void Unpack(string package, string hash, string target)
    {
        string downloads = Path.Combine(folder, "downloads");
        Directory.CreateDirectory(downloads);
        Do("npm", ["pack", "--silent", "--pack-destination", downloads, $"{package}@{PackageVersion}"]);
        string archive = Path.Combine(downloads, $"{package.TrimStart('@').Replace('/', '-')}-{PackageVersion}.tgz");
        using (FileStream file = File.OpenRead(archive))
        {
            string got = Convert.ToBase64String(SHA512.HashData(file));
            if (got != hash) throw new PeerException($"the archive of {package} {PackageVersion} has SHA-512 {got}; it must be {hash}. Nothing was unpacked; see where npm gets its packages from.");
            file.Position = 0;
            using GZipStream tar = new(file, CompressionMode.Decompress);
            // Under its own name only when it is whole.
            string part = target + ".part";
            Remove(part);
            Directory.CreateDirectory(part);
            TarFile.ExtractToDirectory(tar, part, overwriteFiles: true);
            Directory.Move(part, target);
        }

        Remove(downloads);
    }

    private static void Remove(string path)
    {
        if (Directory.Exists(path)) Directory.Delete(path, recursive: true);
    }

    private static void Do(string program, string[] arguments)
    {
        Console.WriteLine($"{program} {string.Join(' ', arguments)}");
        try
        {
            using System.Diagnostics.Process process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(program, arguments))!;
            process.WaitForExit();
            if (process.ExitCode != 0) throw new PeerException($"{program} ended with exit code {process.ExitCode.ToString(CultureInfo.InvariantCulture)}; what it wrote is above.");
        }
        catch (System.ComponentModel.Win32Exception error)
        {
            throw new PeerException($"{program} does not start: {error.Message}. Install it.");
        }
    }

    [GeneratedRegex("set\\(CMAKE_CXX_COMPILER_ID \"(?<value>\\w+)\"\\)")]
    private static partial Regex CompilerName();

    [GeneratedRegex("set\\(CMAKE_CXX_COMPILER_VERSION \"(?<value>[\\d.]+)\"\\)")]
    private static partial Regex CompilerVersion();
}
