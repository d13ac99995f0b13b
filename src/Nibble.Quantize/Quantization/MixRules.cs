using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Quantize.Quantization;

/// <summary>
/// Which format a tensor gets in a mix: the rules of llama-quantize (<c>llama-quant.cpp</c>, llama.cpp v0.5.0), which give values, the networks' last matrices and the output more bits, most of all in the
/// first and the last eighth of the layers. Tensors are asked for in the order of <see cref="TensorNames.Compare"/>, since the rules count.
/// </summary>
internal sealed class MixRules
{
    private readonly FileType _type;
    private readonly bool _hasImportance, _isTied, _isFalcon, _isSeventyBillion;
    private readonly string _architecture;
    private readonly int _layers, _experts, _queriesPerKey, _valueCount;
    private int _value, _down;

    /// <summary>Prepares to ask.</summary>
    /// <param name="file">The model.</param>
    /// <param name="type">The mix.</param>
    /// <param name="hasImportance">Whether there is an importance matrix.</param>
    public MixRules(GgufFile file, FileType type, bool hasImportance)
    {
        _type = type;
        _hasImportance = hasImportance;
        _isTied = file.Weights.Find("output.weight") is null;
        _valueCount = file.Weights.All.Count(tensor => TensorNames.Role(tensor.Name) == TensorRole.Value);
        GgufMetadata metadata = file.Metadata;
        _architecture = metadata.GetString("general.architecture", string.Empty)!;
        _isFalcon = _architecture == "falcon";
        _layers = First(metadata, $"{_architecture}.block_count");
        _experts = First(metadata, $"{_architecture}.expert_count");
        int heads = First(metadata, $"{_architecture}.attention.head_count"), kvHeads = First(metadata, $"{_architecture}.attention.head_count_kv");
        if (!metadata.Contains($"{_architecture}.attention.head_count_kv")) kvHeads = heads;
        _queriesPerKey = kvHeads == 0 ? 0 : heads / kvHeads;
        _isSeventyBillion = (_architecture, _layers) is ("qwen2", 80) or ("deci", 80) or ("olmo", 80) or ("jais2", 68) || (_architecture == "llama" && _layers == 80 && heads != kvHeads);
    }

    /// <summary>The format of the next tensor that is quantized.</summary>
    public BlockFormat Next(IWeightSource tensor)
    {
        TensorRole role = TensorNames.Role(tensor.Name);
        if (role == TensorRole.Output || (_isTied && role == TensorRole.Embedding)) return Output(tensor);
        if (_type.Name == "MXFP4_MOE")
        {
            // In this architecture the latent attention has matrices in three dimensions too.
            bool isExperts = tensor.Matrices > 1 && (_architecture != "bailingmoe3" || role is TensorRole.Up or TensorRole.Gate or TensorRole.Down);
            return isExperts ? BlockFormats.MXFP4 : BlockFormats.Q8_0;
        }

        return role switch
        {
            TensorRole.Embedding => _type.Name is "TQ1_0" or "TQ2_0" ? BlockFormats.Q4_K : _type.Format,
            TensorRole.Value => Value(_value++),
            TensorRole.Key => _experts == 8 ? BlockFormats.Q8_0 : _type.Format,
            TensorRole.Down => Down(tensor, _down++),
            TensorRole.AttentionOutput => AttentionOutput(),
            _ => _type.Format,
        };
    }

    private static int First(GgufMetadata metadata, string key)
    {
        if (!metadata.IsArray(key)) return metadata.GetInt32(key, 0);
        int[] values = metadata.GetInt32Array(key);
        return values.Length == 0 ? 0 : values[0];
    }

    // The layers that get more bits in the mixes M: the first and the last eighth, and every third between.
    private static bool IsMore(int index, int count) => index < count / 8 || index >= 7 * count / 8 || (index - count / 8) % 3 == 2;

    private BlockFormat Output(IWeightSource tensor)
    {
        if (_type.Name == "MXFP4_MOE" || _isFalcon || tensor.Columns % _type.Format.BlockValues != 0 || _type.Format == BlockFormats.Q8_0) return BlockFormats.Q8_0;
        return BlockFormats.Q6_K;
    }

    private BlockFormat Value(int index)
    {
        bool isGrouped = _queriesPerKey >= 4;
        BlockFormat format = _type.Name switch
        {
            "Q2_K" => isGrouped ? BlockFormats.Q4_K : BlockFormats.Q3_K,
            "Q2_K_S" when isGrouped => BlockFormats.Q4_K,
            "Q3_K_M" => index < 2 ? BlockFormats.Q5_K : BlockFormats.Q4_K,
            "Q3_K_L" => BlockFormats.Q5_K,
            "IQ4_NL" or "IQ4_XS" when isGrouped => BlockFormats.Q5_K,
            "Q4_K_M" or "Q5_K_M" when IsMore(index, _valueCount) => BlockFormats.Q6_K,
            "Q4_K_S" when index < 4 => BlockFormats.Q5_K,
            _ => _type.Format,
        };

        // Eight heads share these values, so that more bits cost little.
        if (_isSeventyBillion && (format == BlockFormats.Q3_K || format == BlockFormats.Q4_K)) format = BlockFormats.Q5_K;
        return _experts == 8 ? BlockFormats.Q8_0 : format;
    }

    private BlockFormat Down(IWeightSource tensor, int index)
    {
        if (_experts > 1)
        {
            // Experts of a layer may lie apart from one another, so the name tells the layer.
            index = TensorNames.Layer(tensor.Name);
            if (index < 0 || index >= _layers)
                throw new QuantizationException($"tensor '{tensor.Name}' names no layer from 0 to {_layers - 1}; its format in {_type} cannot be told. Give it one with --tensor.");
        }

        bool isFirstEighth = index < _layers / 8, isFirstSixteenth = index < _layers / 16, isMore = IsMore(index, _layers);
        return _type.Name switch
        {
            "Q2_K" => BlockFormats.Q3_K,
            "Q2_K_S" when isFirstEighth => BlockFormats.Q4_K,
            "Q3_K_M" => isFirstSixteenth ? BlockFormats.Q5_K : !_isFalcon || isMore ? BlockFormats.Q4_K : BlockFormats.Q3_K,
            "Q3_K_L" => _isFalcon ? BlockFormats.Q4_K : BlockFormats.Q5_K,
            "Q4_K_M" when _isFalcon => isFirstSixteenth ? BlockFormats.Q6_K : isMore ? BlockFormats.Q5_K : BlockFormats.Q4_K,
            "Q4_K_M" or "Q5_K_M" when isMore => BlockFormats.Q6_K,
            "IQ4_NL" or "IQ4_XS" when isFirstEighth && !_hasImportance => BlockFormats.Q5_K,
            "Q4_K_S" when isFirstEighth && !_isFalcon => BlockFormats.Q5_K,
            "Q4_0" when isFirstEighth && _hasImportance => BlockFormats.Q4_1,
            "Q5_0" when isFirstEighth && _hasImportance => BlockFormats.Q5_1,
            _ => _type.Format,
        };
    }

    private BlockFormat AttentionOutput()
    {
        if (_isFalcon) return _type.Name == "Q3_K_L" ? BlockFormats.Q4_K : _type.Format;
        if (_experts == 8) return _type.Name is "Q2_K" or "Q3_K_S" or "Q3_K_M" or "IQ4_NL" or "Q4_K_S" or "Q4_K_M" or "IQ4_XS" ? BlockFormats.Q5_K : _type.Format;
        return _type.Name switch
        {
            "Q2_K" => BlockFormats.Q3_K,
            "Q3_K_M" => BlockFormats.Q4_K,
            "Q3_K_L" => BlockFormats.Q5_K,
            _ => _type.Format,
        };
    }
}
