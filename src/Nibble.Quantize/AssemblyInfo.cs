using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Nibble.Quantize.Tests")]
