using System.Runtime.InteropServices;

namespace Nibble.Gpu.Drivers.OpenCL;

/// <summary>The functions of OpenCL 1.2 that Nibble calls. <see cref="OpenClLibrary"/> says where they come from.</summary>
/// <remarks>Signatures and numbers: Khronos, The OpenCL Specification 1.2, and its CL/cl.h; those of newer queries from its CL/cl_ext.h. No function is newer than 1.2, so that a loader of 1.2 will do.</remarks>
internal static unsafe partial class OpenClApi
{
    public const int Success = 0, AllocationFailure = -4, OutOfResources = -5, OutOfHostMemory = -6, PlatformNotFound = -1001;
    public const ulong DeviceTypeAll = 0xFFFFFFFF, DeviceTypeCpu = 2, MemReadWrite = 1;
    public const uint PlatformVersion = 0x0901, PlatformName = 0x0902;
    public const uint DeviceType = 0x1000, DeviceMaxComputeUnits = 0x1002, DeviceMaxWorkGroupSize = 0x1004, DeviceMaxMemAllocSize = 0x1010, DeviceMemCacheSize = 0x101E, DeviceGlobalMemSize = 0x101F,
        DeviceLocalMemSize = 0x1023, DeviceAvailable = 0x1027, DeviceCompilerAvailable = 0x1028, DeviceName = 0x102B, DriverVersion = 0x102D, DeviceVersion = 0x102F, DeviceExtensions = 0x1030,
        DeviceLanguageVersion = 0x103D, DeviceEndianLittle = 0x1026;

    // Newer than 1.2; a device that does not know them says CL_INVALID_VALUE.
    public const uint DeviceMaxSubGroups = 0x105C, DevicePackedDot = 0x1073;
    public const uint ProgramBinarySizes = 0x1165, ProgramBinaries = 0x1166, ProgramBuildLog = 0x1183, KernelNumArgs = 0x1191, KernelWorkGroupSize = 0x11B0;

    internal const string Library = "OpenCL";

    [LibraryImport(Library, EntryPoint = "clGetPlatformIDs")]
    public static partial int GetPlatformIDs(uint capacity, nint* platforms, uint* count);

    [LibraryImport(Library, EntryPoint = "clGetPlatformInfo")]
    public static partial int GetPlatformInfo(nint platform, uint name, nuint size, void* value, nuint* sizeNeeded);

    [LibraryImport(Library, EntryPoint = "clGetDeviceIDs")]
    public static partial int GetDeviceIDs(nint platform, ulong type, uint capacity, nint* devices, uint* count);

    [LibraryImport(Library, EntryPoint = "clGetDeviceInfo")]
    public static partial int GetDeviceInfo(nint device, uint name, nuint size, void* value, nuint* sizeNeeded);

    [LibraryImport(Library, EntryPoint = "clCreateContext")]
    public static partial nint CreateContext(nint* properties, uint count, nint* devices, nint notify, nint userData, int* error);

    [LibraryImport(Library, EntryPoint = "clReleaseContext")]
    public static partial int ReleaseContext(nint context);

    [LibraryImport(Library, EntryPoint = "clCreateCommandQueue")]
    public static partial nint CreateCommandQueue(nint context, nint device, ulong properties, int* error);

    [LibraryImport(Library, EntryPoint = "clReleaseCommandQueue")]
    public static partial int ReleaseCommandQueue(nint queue);

    [LibraryImport(Library, EntryPoint = "clCreateBuffer")]
    public static partial nint CreateBuffer(nint context, ulong flags, nuint size, void* host, int* error);

    [LibraryImport(Library, EntryPoint = "clReleaseMemObject")]
    public static partial int ReleaseMemObject(nint memory);

    [LibraryImport(Library, EntryPoint = "clEnqueueWriteBuffer")]
    public static partial int EnqueueWriteBuffer(nint queue, nint buffer, uint blocking, nuint offset, nuint size, void* from, uint waits, nint* wait, nint* done);

    [LibraryImport(Library, EntryPoint = "clEnqueueReadBuffer")]
    public static partial int EnqueueReadBuffer(nint queue, nint buffer, uint blocking, nuint offset, nuint size, void* to, uint waits, nint* wait, nint* done);

    [LibraryImport(Library, EntryPoint = "clEnqueueCopyBuffer")]
    public static partial int EnqueueCopyBuffer(nint queue, nint from, nint to, nuint fromOffset, nuint toOffset, nuint size, uint waits, nint* wait, nint* done);

    [LibraryImport(Library, EntryPoint = "clEnqueueFillBuffer")]
    public static partial int EnqueueFillBuffer(nint queue, nint buffer, void* pattern, nuint patternSize, nuint offset, nuint size, uint waits, nint* wait, nint* done);

    [LibraryImport(Library, EntryPoint = "clCreateProgramWithSource")]
    public static partial nint CreateProgramWithSource(nint context, uint count, byte** texts, nuint* lengths, int* error);

    [LibraryImport(Library, EntryPoint = "clCreateProgramWithBinary")]
    public static partial nint CreateProgramWithBinary(nint context, uint count, nint* devices, nuint* lengths, byte** binaries, int* status, int* error);

    [LibraryImport(Library, EntryPoint = "clBuildProgram")]
    public static partial int BuildProgram(nint program, uint count, nint* devices, byte* options, nint notify, nint userData);

    [LibraryImport(Library, EntryPoint = "clGetProgramBuildInfo")]
    public static partial int GetProgramBuildInfo(nint program, nint device, uint name, nuint size, void* value, nuint* sizeNeeded);

    [LibraryImport(Library, EntryPoint = "clGetProgramInfo")]
    public static partial int GetProgramInfo(nint program, uint name, nuint size, void* value, nuint* sizeNeeded);

    [LibraryImport(Library, EntryPoint = "clReleaseProgram")]
    public static partial int ReleaseProgram(nint program);

    [LibraryImport(Library, EntryPoint = "clCreateKernel")]
    public static partial nint CreateKernel(nint program, byte* name, int* error);

    [LibraryImport(Library, EntryPoint = "clGetKernelInfo")]
    public static partial int GetKernelInfo(nint kernel, uint name, nuint size, void* value, nuint* sizeNeeded);

    [LibraryImport(Library, EntryPoint = "clGetKernelWorkGroupInfo")]
    public static partial int GetKernelWorkGroupInfo(nint kernel, nint device, uint name, nuint size, void* value, nuint* sizeNeeded);

    [LibraryImport(Library, EntryPoint = "clReleaseKernel")]
    public static partial int ReleaseKernel(nint kernel);

    [LibraryImport(Library, EntryPoint = "clSetKernelArg")]
    public static partial int SetKernelArg(nint kernel, uint index, nuint size, void* value);

    [LibraryImport(Library, EntryPoint = "clEnqueueNDRangeKernel")]
    public static partial int EnqueueNDRangeKernel(nint queue, nint kernel, uint dimensions, nuint* offsets, nuint* items, nuint* groupItems, uint waits, nint* wait, nint* done);

    [LibraryImport(Library, EntryPoint = "clFinish")]
    public static partial int Finish(nint queue);
}
