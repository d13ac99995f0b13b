namespace Peers;

/// <summary>A side cannot be measured, for a reason that the message tells.</summary>
internal sealed class PeerException(string message) : Exception(message);
