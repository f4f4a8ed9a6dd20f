import { readFileSync } from 'node:fs'

/** A platform that this package is built for. */
export interface Platform {
  /** As in the names of packages and addons. */
  key: string
  /** In words, for messages. */
  name: string
  /** File name of the ONNX Runtime library as it travels in the platform package; `undefined` where there is none. */
  onnxRuntime: string | undefined
}

/** Every platform that this package is built for. */
export const PLATFORMS: readonly Platform[] = [
  { key: 'linux-x64-gnu', name: 'Linux x64 (glibc)', onnxRuntime: 'libonnxruntime.so.1' },
  { key: 'linux-arm64-gnu', name: 'Linux arm64 (glibc)', onnxRuntime: 'libonnxruntime.so.1' },
  { key: 'darwin-arm64', name: 'macOS arm64', onnxRuntime: 'libonnxruntime.1.dylib' },
  { key: 'darwin-x64', name: 'macOS x64', onnxRuntime: undefined },
  { key: 'win32-x64-msvc', name: 'Windows x64', onnxRuntime: 'onnxruntime.dll' },
  { key: 'win32-arm64-msvc', name: 'Windows arm64', onnxRuntime: 'onnxruntime.dll' },
]

/** The key that the running process would need, whether or not this package is built for it. */
export function currentKey(platform = process.platform, arch = process.arch, musl = isMusl): string {
  if (platform === 'linux') return `linux-${arch}-${musl() ? 'musl' : 'gnu'}`
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`
}

/** The platform of the running process, if this package is built for it. */
export function currentPlatform(key = currentKey()): Platform | undefined {
  return PLATFORMS.find((platform) => platform.key === key)
}

/** What to tell somebody whose platform is not among {@link PLATFORMS}. */
export function unsupportedMessage(key: string): string {
  const supported = PLATFORMS.map((platform) => platform.name).join(', ')
  const musl = key.endsWith('-musl') ? ' This system uses musl (Alpine): use an image with glibc, such as Debian.' : ''
  return `there is no build for ${key}. Supported: ${supported}.${musl}`
}

/** Whether this Linux runs on musl in place of glibc. */
function isMusl(): boolean {
  try {
    return readFileSync('/usr/bin/ldd', 'utf8').includes('musl')
  } catch {
    // No ldd: ask Node itself, without the network part of the report, which may look names up.
    const report = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined
    if (!report) return false
    report.excludeNetwork = true
    const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
    return header.glibcVersionRuntime === undefined
  }
}
