using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

public class RecordingBackendTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Fused_operations_are_observed_as_the_plain_ones_are(bool isCpu)
    {
        using RecordingBackend recorder = new(isCpu ? new CpuBackend() : new ReferenceBackend());
        using Weight weight = recorder.Upload(new Values("w", [1, 2, 3, 4], 2));
        Tensor x = recorder.Allocate(ElementType.Float32, 1, 2), work = recorder.Allocate(ElementType.Float32, 1, 2), y = recorder.Allocate(ElementType.Float32, 1, 2);
        recorder.Write([3f, -4], x);
        PlainObserver observer = new();
        recorder.Observer = observer;
        recorder.MatMulNormed(x, new NormOptions(NormKind.Euclidean, 0), null, null, work, [weight], [y]);
        Assert.Equal(1, observer.Found[("w", 0)].Count);
        Assert.Equal(0.36, observer.Found[("w", 0)].Sums[0, 0], 1e-6);
        recorder.MatMulGated(Activation.Relu, x, x, work, weight, y);
        Assert.Equal(2, observer.Found[("w", 0)].Count);
        Assert.Equal(0.36 + 81, observer.Found[("w", 0)].Sums[0, 0], 1e-5);
        Assert.Equal(0.64, observer.Found[("w", 0)].Sums[1, 1], 1e-6);
    }

    [Fact]
    public void Products_that_nobody_reads_are_left_out_and_observed()
    {
        using RecordingBackend recorder = new(new ReferenceBackend());
        using Weight weight = recorder.Upload(new Values("w", [1, 2, 3, 4], 2)), other = recorder.Upload(new Values("v", [1, 1], 2));
        Tensor x = recorder.Allocate(ElementType.Float32, 1, 2), y = recorder.Allocate(ElementType.Float32, 1, 2), z = recorder.Allocate(ElementType.Float32, 1, 1);
        recorder.Write([1f, 1], x);
        PlainObserver observer = new();
        (recorder.Observer, recorder.SkipsProducts) = (observer, true);
        recorder.MatMul(x, weight, y);
        recorder.MatMul(x, [weight], [y]);
        recorder.MatMulNormed(x, new NormOptions(NormKind.Rms, 0), null, null, x, [weight], [y]);
        Assert.Equal([0, 0], Read(y));
        Assert.Equal(3, observer.Found[("w", 0)].Count);

        // Those of several matrices are read.
        recorder.MatMul(x, [weight, other], [y, z]);
        Assert.Equal([3, 7], Read(y));
        recorder.SkipsProducts = false;
        recorder.MatMul(x, other, z);
        Assert.Equal([2], Read(z));

        float[] Read(Tensor tensor)
        {
            float[] values = new float[tensor.Columns];
            recorder.Read(tensor, values);
            return values;
        }
    }

    private sealed class Values(string name, float[] values, int columns) : IWeightSource
    {
        public string Name => name;

        public BlockFormat Format => BlockFormats.F32;

        public int Columns => columns;

        public int Rows => values.Length / columns;

        public int Matrices => 1;

        public ReadOnlySpan<byte> Row(long row) => MemoryMarshal.AsBytes(values.AsSpan((int)row * columns, columns));
    }
}
