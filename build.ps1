#!/usr/bin/env pwsh
# Builds everything and, with -Test, runs all tests. The two lines below work as well when typed by hand.
param([switch] $Test)

$ErrorActionPreference = 'Stop'
Set-Location $PSScriptRoot
dotnet build Runtime.sln -c Release
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
if ($Test) { dotnet test Runtime.sln -c Release --no-build }
exit $LASTEXITCODE
