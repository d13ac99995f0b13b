using Nibble.Core.Compute;
using Nibble.Llm.Generation;
using Nibble.Llm.Models;
using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Generation;

/// <summary>Alone on the process, for it counts what all threads allocate.</summary>
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
[Collection(nameof(AllocationTests))]
public class AllocationTests
{
    [Theory]
    [InlineData("cpu", "Q8_0")]
    [InlineData("cpu", "F16")]
    [InlineData("cpu-exact", "F32")]
    public void A_decoded_token_allocates_nothing_from_forward_pass_to_text(string device, string kv)
    {
        using Backend backend = TestModels.Open(device);
        using LanguageModel model = TestModels.Load(TestModels.SmolLm2, backend);
        using Session session = model.NewSession(new SessionOptions { Context = 1024, KvFormat = Core.Formats.BlockFormats.Find(kv)! });
        Tokenizer tokenizer = Tokenizer.FromMetadata(model.File.Metadata);
        SamplerChain sampler = new(new SamplingOptions { Seed = 1, RepeatPenalty = 1.1f }, model.VocabularySize, new TokenizerVocabulary(tokenizer));
        session.Evaluate(tokenizer.Encode("Once upon a time", parseSpecial: false, addBosEos: false), TestContext.Current.CancellationToken);
        Generator generator = new(session, null, sampler, new GenerationOptions());
        StreamDecoder decoder = new(tokenizer);
        Generate(32);

        Assert.Equal(0, Allocations.Least(() => Generate(40), everyThread: true));

        void Generate(int tokens)
        {
            for (int i = 0; i < tokens; i++)
            {
                generator.Next(CancellationToken.None);
                _ = decoder.Append(generator.Id).Length;
            }
        }
    }
}
