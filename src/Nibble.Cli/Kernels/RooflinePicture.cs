using System.Globalization;
using System.Text;
using System.Xml;

namespace Nibble.Cli.Kernels;

/// <summary>Results as a roofline: multiplications a second over multiplications a byte, both axes logarithmic, below what memory and multipliers allow. An SVG picture for light and dark screens, without scripts.</summary>
internal sealed class RooflinePicture
{
    private const string Svg = "http://www.w3.org/2000/svg";
    private const double Left = 70, Top = 56, PlotWidth = 660, PlotHeight = 500, LegendLeft = 760, LegendWidth = 190, Line = 18, LabelHeight = 14;

    // Of a letter of a label, about; labels keep this far from lines and marks.
    private const double LetterWidth = 6.6, Gap = 10;

    private const string Style = """
        text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-size: 16px } .axis { text-anchor: middle } .value { text-anchor: end }
        .paper { fill: #fff } .grid { stroke: #ddd; fill: none } .frame { stroke: #888; fill: none } .roof { stroke: #222; stroke-width: 2; fill: none }
        .mark { fill-opacity: .75; stroke-width: 1.5 } .hollow { fill-opacity: 0 } .key { fill: #888; stroke: #888 }
        @media (prefers-color-scheme: dark) { text { fill: #ddd } .paper { fill: #16181d } .grid { stroke: #333 } .roof { stroke: #ddd } }
        """;

    // Around 0, 0; each fits a circle of radius 6.
    private static readonly string[] Symbols =
    [
        "M-4.5 0A4.5 4.5 0 1 1 4.5 0A4.5 4.5 0 1 1 -4.5 0Z", "M-4 -4H4V4H-4Z", "M0 -5.5L5 4H-5Z", "M0 -5.5L5.5 0L0 5.5L-5.5 0Z", "M0 5.5L5 -4H-5Z", "M-1.5 -5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5V-1.5H-1.5Z",
    ];

    private readonly XmlWriter _writer;
    private readonly IReadOnlyList<KernelResult> _results;
    private readonly string[] _series;
    private readonly int[] _tokens;
    private readonly bool _hasPaths;
    private readonly double _read, _top, _minX, _maxX, _minY, _maxY;

    private RooflinePicture(XmlWriter writer, IReadOnlyList<KernelResult> results)
    {
        (_writer, _results) = (writer, results);
        _hasPaths = results.Select(result => result.Path).Distinct().Count() > 1;
        _series = [.. results.Select(SeriesOf).Distinct()];
        _tokens = [.. results.Select(result => result.Tokens).Distinct().Order()];
        _read = KernelResult.Median(results.Select(result => result.Peaks.ReadBytes));
        _top = Ceilings().Max(ceiling => ceiling.Macs);
        // Room for every mark, and for the corner of the highest roof.
        (_minX, _maxX) = Decades(results.Select(result => result.Intensity).Append(_top / _read * 1.5));
        (_minY, _maxY) = Decades(results.Select(result => result.MacsPerSecond / 1e9).Append(_top / 1e9 * 1.2));
        // And for the roofs' names left of memory's slope.
        for (int i = 0; i < 3 && Labels().Any(label => label.X - (LetterWidth * label.Text.Length) < Left); i++)
            _minX--;
    }

    /// <summary>Writes the picture.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="results">At least one result.</param>
    public static void Write(Stream stream, IReadOnlyList<KernelResult> results)
    {
        ArgumentOutOfRangeException.ThrowIfZero(results.Count);
        using XmlWriter writer = XmlWriter.Create(stream, new XmlWriterSettings { Indent = true, NewLineChars = "\n", Encoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false) });
        new RooflinePicture(writer, results).Draw();
    }

    private static string Number(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);

    // A peak in thousand millions, as exactly as it can be measured.
    private static string Rounded(double value) => (value / 1e9).ToString(value < 1e11 ? "0.0" : "0", CultureInfo.InvariantCulture);

    private static string Tick(double value) => value.ToString("0.######", CultureInfo.InvariantCulture);

    private static (double Lowest, double Highest) Decades(IEnumerable<double> values)
    {
        double[] logarithms = [.. values.Select(Math.Log10)];
        double lowest = Math.Floor(logarithms.Min()), highest = Math.Ceiling(logarithms.Max());
        return (lowest, Math.Max(highest, lowest + 1));
    }

    private string SeriesOf(KernelResult result) => _hasPaths ? $"{result.Format}, {result.Path}" : result.Format.Name;

    // Of each kind of instructions what its multipliers do.
    private IEnumerable<(string Name, double Macs)> Ceilings() =>
        _results.GroupBy(result => result.Instructions).Select(same => (same.Key, KernelResult.Median(same.Select(result => result.Peaks.Macs))));

    private double X(double intensity) => Left + (PlotWidth * (Math.Log10(intensity) - _minX) / (_maxX - _minX));

    private double Y(double macs) => Top + (PlotHeight * (_maxY - Math.Log10(macs / 1e9)) / (_maxY - _minY));

    private void Draw()
    {
        KernelResult first = _results[0];
        double height = Math.Max(Top + PlotHeight + 60, Top + (Line * (_series.Length + _tokens.Length + 4)));
        _writer.WriteStartElement("svg", Svg);
        Attributes(("viewBox", $"0 0 {Number(LegendLeft + LegendWidth)} {Number(height)}"), ("width", Number(LegendLeft + LegendWidth)), ("height", Number(height)), ("role", "img"));
        _writer.WriteElementString("title", Svg, $"Roofline of nibble's kernels: {Bench.ProcessorName.Value}, {first.Threads} thread{(first.Threads == 1 ? string.Empty : "s")}");
        _writer.WriteElementString("style", Svg, Style);
        Element("rect", ("class", "paper"), ("width", "100%"), ("height", "100%"));
        Text("title", Left, 28, $"{Bench.ProcessorName.Value}, {first.Threads} thread{(first.Threads == 1 ? string.Empty : "s")}: {string.Join(", ", _results.Select(result => result.Path).Distinct())}");
        Axes();
        Roofs();
        foreach (KernelResult result in _results)
            Mark(X(result.Intensity), Y(result.MacsPerSecond), result);
        Legend();
        _writer.WriteEndElement();
    }

    private void Axes()
    {
        for (int decade = (int)_minX; decade <= _maxX; decade++)
            foreach (int step in (int[])[1, 2, 5])
            {
                double value = step * Math.Pow(10, decade), x = X(value);
                if (x > Left + PlotWidth + 0.1) break;
                Element("path", ("class", "grid"), ("d", $"M{Number(x)} {Number(Top)}v{Number(PlotHeight)}"));
                if (step == 1 || _maxX - _minX < 4) Text("axis", x, Top + PlotHeight + 18, Tick(value));
            }

        for (int decade = (int)_minY; decade <= _maxY; decade++)
            foreach (int step in (int[])[1, 2, 5])
            {
                double value = step * Math.Pow(10, decade), y = Y(value * 1e9);
                if (y < Top - 0.1) break;
                Element("path", ("class", "grid"), ("d", $"M{Number(Left)} {Number(y)}h{Number(PlotWidth)}"));
                Text("value", Left - 6, y + 4, Tick(value));
            }

        Element("rect", ("class", "frame"), ("x", Number(Left)), ("y", Number(Top)), ("width", Number(PlotWidth)), ("height", Number(PlotHeight)));
        Text("axis", Left + (PlotWidth / 2), Top + PlotHeight + 42, "MAC per byte of weights");
        Text("axis", Left, Top - 10, "GMAC/s");
    }

    // Memory's slope up to the highest ceiling, and each ceiling from the slope on.
    private void Roofs()
    {
        double bottom = Math.Pow(10, _minY) * 1e9, start = Math.Max(Math.Pow(10, _minX), bottom / _read);
        Roof($"memory {Rounded(_read)} GB/s", $"M{Number(X(start))} {Number(Y(start * _read))}L{Number(X(_top / _read))} {Number(Y(_top))}");
        // Along the slope, whose angle on screen depends on the axes, below the lowest ceiling.
        double angle = -Math.Atan2(PlotHeight / (_maxY - _minY), PlotWidth / (_maxX - _minX)) * 180 / Math.PI, middle = Math.Sqrt(start * Ceilings().Min(ceiling => ceiling.Macs) / _read);
        Text("axis", 0, -Gap, $"memory {Rounded(_read)} GB/s", ("transform", $"translate({Number(X(middle))} {Number(Y(middle * _read))}) rotate({Number(angle)})"));
        foreach ((string name, double macs) in Ceilings())
            Roof($"{name} {Rounded(macs)} GMAC/s", $"M{Number(X(Math.Max(macs / _read, start)))} {Number(Y(macs))}H{Number(Left + PlotWidth)}");
        foreach ((string text, double x, double y) in Labels())
            Text("value", x, y, text);
    }

    // The ceilings' names, highest first, where weights that come from memory cannot be: left of memory's slope at the height of the ceiling, or below the name before.
    private IEnumerable<(string Text, double X, double Y)> Labels()
    {
        double free = 0;
        foreach ((string name, double macs) in Ceilings().OrderByDescending(ceiling => ceiling.Macs))
        {
            double y = Math.Max(free, Y(macs) + 4);
            // The slope where the text's lower edge is.
            double slope = X(Math.Pow(10, _maxY - ((y + 4 - Top) * (_maxY - _minY) / PlotHeight)) * 1e9 / _read);
            yield return ($"{name} {Rounded(macs)} GMAC/s", slope - Gap, y);
            free = y + LabelHeight;
        }
    }

    private void Roof(string title, string path)
    {
        _writer.WriteStartElement("path", Svg);
        Attributes(("class", "roof"), ("d", path));
        _writer.WriteElementString("title", Svg, title);
        _writer.WriteEndElement();
    }

    private void Mark(double x, double y, KernelResult result)
    {
        _writer.WriteStartElement("path", Svg);
        string colour = Colour(Array.IndexOf(_series, SeriesOf(result)));
        Attributes(("class", "mark" + Hollow(result.Tokens)), ("d", Symbol(result.Tokens)), ("transform", $"translate({Number(x)} {Number(y)})"), ("fill", colour), ("stroke", colour));
        _writer.WriteElementString("title", Svg, string.Create(
            CultureInfo.InvariantCulture,
            $"{result.Format} {result.Shape}, {result.Tokens} tokens, {result.Path}, {result.Instructions}: {result.MacsPerSecond / 1e9:F2} GMAC/s, {result.BytesPerSecond / 1e9:F2} GB/s, {100 * result.Share:F0} % of {KernelOutput.Bound(result)}"));
        _writer.WriteEndElement();
    }

    private void Legend()
    {
        double y = Top + 4;
        Text("key-title", LegendLeft, y, "tokens");
        foreach (int count in _tokens)
        {
            y += Line;
            Element("path", ("class", "key" + Hollow(count)), ("d", Symbol(count)), ("transform", $"translate({Number(LegendLeft + 8)} {Number(y - 4)})"));
            Text("key-text", LegendLeft + 24, y, count.ToString(CultureInfo.InvariantCulture));
        }

        y += 2 * Line;
        Text("key-title", LegendLeft, y, _hasPaths ? "format, path" : "format");
        for (int i = 0; i < _series.Length; i++)
        {
            y += Line;
            Element("rect", ("x", Number(LegendLeft + 2)), ("y", Number(y - 10)), ("width", "12"), ("height", "12"), ("fill", Colour(i)));
            Text("key-text", LegendLeft + 24, y, _series[i]);
        }
    }

    // Of a lightness that is seen on white and on black. Neighbours differ by the golden angle.
    private static string Colour(int series) => string.Create(CultureInfo.InvariantCulture, $"hsl({series * 137.508 % 360:F0}, 70%, {44 + (series % 3 * 12)}%)");

    private string Symbol(int tokens) => Symbols[Array.IndexOf(_tokens, tokens) % Symbols.Length];

    private string Hollow(int tokens) => Array.IndexOf(_tokens, tokens) / Symbols.Length % 2 == 1 ? " hollow" : string.Empty;

    private void Text(string style, double x, double y, string text, params (string Name, string Value)[] more)
    {
        _writer.WriteStartElement("text", Svg);
        Attributes([("class", style), ("x", Number(x)), ("y", Number(y)), .. more]);
        _writer.WriteString(text);
        _writer.WriteEndElement();
    }

    private void Element(string name, params (string Name, string Value)[] attributes)
    {
        _writer.WriteStartElement(name, Svg);
        Attributes(attributes);
        _writer.WriteEndElement();
    }

    private void Attributes(params (string Name, string Value)[] attributes)
    {
        foreach ((string name, string value) in attributes)
            _writer.WriteAttributeString(name, value);
    }
}
