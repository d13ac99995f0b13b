namespace Nibble.Gpu;

/// <summary>A device, or its driver, refused something. The message names the device, the call or kernel, and the driver's own error.</summary>
public sealed class GpuException : Exception
{
    /// <summary>An error without a message.</summary>
    public GpuException()
    {
    }

    /// <summary>An error.</summary>
    /// <param name="message">What happened.</param>
    public GpuException(string message)
        : base(message)
    {
    }

    /// <summary>An error with a cause.</summary>
    /// <param name="message">What happened.</param>
    /// <param name="innerException">The cause.</param>
    public GpuException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
