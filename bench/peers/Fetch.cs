using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;

namespace Peers;

/// <summary>llama.cpp as npm packages it, and the source that comes with it: where they lie, and how they get there.</summary>
/// <param name="folder">The folder that holds them.</param>
internal sealed class Fetch(string folder)
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
    public string NativeBench => Path.Combine(folder, "native", "bin", "llama-bench");

    private string Source => Path.Combine(folder, "source");

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
            string package = Path.Combine(folder, "package");
            Unpack(SourcePackage, SourceHash, package);
            Do("git", ["clone", "--quiet", Path.Combine(package, "package", "llama", "gitRelease.bundle"), Source]);
            Directory.Delete(package, recursive: true);
        }

        string build = Path.Combine(folder, "native");
        Do("nice", ["-n", "19", "cmake", "-S", Source, "-B", build, "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"]);
        Do("nice", ["-n", "19", "cmake", "--build", build, "--target", "llama-bench", "-j", jobs.ToString(CultureInfo.InvariantCulture)]);
        Console.WriteLine($"llama-bench: {NativeBench}");
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
            if (Directory.Exists(part)) Directory.Delete(part, recursive: true);
            Directory.CreateDirectory(part);
            TarFile.ExtractToDirectory(tar, part, overwriteFiles: true);
            Directory.Move(part, target);
        }

        Directory.Delete(downloads, recursive: true);
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
}
