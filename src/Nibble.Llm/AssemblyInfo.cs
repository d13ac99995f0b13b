using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Nibble.Llm.Tests")]
