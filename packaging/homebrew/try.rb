# Stands in for Homebrew, which no registry has: try.rb FORMULA DIST PREFIX takes the files that the formula names from
# DIST, holds them to its digests, installs as on Linux, and runs its test. Only what the formula uses is here.
require "digest"
require "fileutils"
require "pathname"

FORMULA, DIST, PREFIX = ARGV.map { |argument| Pathname(argument).expand_path }

module OS
  def self.mac? = false
end

module Utils
  def self.safe_popen_read(*command)
    IO.popen(command.map(&:to_s), &:read).tap { $?.success? or abort "failed: #{command.join(" ")}" }
  end
end

class Pathname
  def install(*files)
    mkpath
    files.each { |file| FileUtils.install(file, self, mode: File.stat(file).mode) }
  end

  alias plain_write write
  def write(...)
    dirname.mkpath
    plain_write(...)
  end
end

class Formula
  class << self
    attr_reader :here, :tried

    def stanzas = @stanzas ||= {}
    %i[desc homepage license url sha256].each { |name| define_method(name) { |value| stanzas[name] = value } }
    def version(value = nil) = value ? stanzas[:version] = value : stanzas[:version]
    def depends_on(*) = nil
    def test(&block) = @tried = block

    # What another system would take has to be there, too.
    def elsewhere
      mine = stanzas.dup
      yield
      archive
      @stanzas = mine
    end
    alias on_macos elsewhere
    def on_linux = yield
    def on_intel(&block) = RUBY_PLATFORM.start_with?("x86_64") ? block.call : elsewhere(&block)
    def on_arm(&block) = RUBY_PLATFORM.start_with?("aarch64") ? block.call : elsewhere(&block)

    def archive
      file = DIST / File.basename(stanzas[:url])
      Digest::SHA256.file(file).hexdigest == stanzas[:sha256] or abort "#{file}: the formula has another digest"
      stanzas[:url].start_with?("https://") or abort "not https: #{stanzas[:url]}"
      file
    end
  end

  def version = self.class.version
  def bin = PREFIX / "bin"
  def man1 = PREFIX / "share/man/man1"

  def generate_completions_from_executable(program, verb, shells:)
    shells.each { |shell| (PREFIX / "completions/#{shell}").write(Utils.safe_popen_read(program, verb, shell.to_s)) }
  end

  def shell_output(command)
    `#{command}`.tap { $?.success? or abort "failed: #{command}" }
  end

  def assert_match(wanted, text)
    text.include?(wanted) or abort "no `#{wanted}` in: #{text}"
  end
end

load FORMULA.to_s
OsqueryLiveQuery.stanzas[:desc].length <= 80 or abort "Homebrew wants descriptions of at most 80 characters"
unpacked = PREFIX / "unpacked"
unpacked.mkpath
system("tar", "xzf", OsqueryLiveQuery.archive.to_s, "-C", unpacked.to_s, "--strip-components=1", exception: true)
formula = OsqueryLiveQuery.new
Dir.chdir(unpacked) { formula.install }
formula.instance_eval(&OsqueryLiveQuery.tried)
