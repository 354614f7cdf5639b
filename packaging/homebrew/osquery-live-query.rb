class OsqueryLiveQuery < Formula
  desc "Asks hosts through Fleet or osctrl and names every one that didn't answer"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license "@LICENSE@"

  on_macos do
    url "@RELEASES@/@SOURCE@"
    sha256 "@SOURCE_SHA256@"
    depends_on "rust" => :build
  end

  on_linux do
@LINUX@
  end

  def install
    if OS.mac?
      system "cargo", "install", *std_cargo_args
    else
      bin.install "bin/osquery-live-query"
    end
    generate_completions_from_executable(bin/"osquery-live-query", "completions", shells: [:bash, :zsh, :fish])
    (man1/"osquery-live-query.1").write Utils.safe_popen_read(bin/"osquery-live-query", "man")
  end

  test do
    assert_match "osquery-live-query #{version}", shell_output("#{bin}/osquery-live-query --version")
    assert_match "running_processes", shell_output("#{bin}/osquery-live-query templates --search running")
  end
end
