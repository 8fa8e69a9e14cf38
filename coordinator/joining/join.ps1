# Lends the card of this machine to the farm that sent this script; `farm node invite` prints the line that
# runs it. The twin of /join for Windows: it was never run there. Nothing happens before its last line has arrived.

function Join-Farm {
    $farm = @FARM@
    $package = @PACKAGE@
    $sha256 = @SHA256@
    $folder = Join-Path $env:LOCALAPPDATA 'shotfarm'
    if ($env:FARM_HOME) { $folder = $env:FARM_HOME }

    $python = Find-Python
    if (-not $python) {
        Write-Host 'join: this needs Python 3.11 to 3.14 and found none: install one, and run the line again'
        return
    }

    Write-Host @"
@SUMMARY@

"@
    Read-Host 'Press Enter to go on, or Ctrl-C to stop' | Out-Null

    try {
        $folder = (New-Item -ItemType Directory -Force -Path $folder -ErrorAction Stop).FullName
    } catch {
        Write-Host "join: the folder $folder cannot be made: name another one by FARM_HOME"
        return
    }
    $file = Join-Path $folder $package
    curl.exe @CURL@ --retry 3 --output $file "$farm/join/$package"
    if ($LASTEXITCODE -ne 0) {
        Write-Host "join: the program of a node did not arrive from ${farm}; the line above says why"
        return
    }
    if ((Get-FileHash -Algorithm SHA256 -LiteralPath $file).Hash -ne $sha256) {
        Write-Host "join: what arrived from $farm is not the program that it named: run the line again"
        return
    }
    & $python -I -c 'import sys; sys.path.insert(0, sys.argv[1]); import gpu_node.install as it; it.main()' $file
}

function Find-Python {
    # The path of a Python 3.11 to 3.14, or nothing.
    $names = 'py', 'python', 'python3'
    if ($env:FARM_PYTHON) { $names = @($env:FARM_PYTHON) }
    $print = 'import sys; print(sys.executable * ((3, 11) <= sys.version_info < (3, 15)))'
    foreach ($name in $names) {
        try { $found = & $name -I -c $print 2> $null } catch { $found = '' }
        if ($found) { return $found }
    }
}

Join-Farm
