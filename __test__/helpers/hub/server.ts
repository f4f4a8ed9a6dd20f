import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'

import { filesOf, hubFile } from './repository.ts'
import type { HubFile, Repository } from './repository.ts'

/** A request that was made. */
export interface Asked {
  server: 'hub' | 'cdn'
  method: string
  /** Path and query, decoded. */
  path: string
  headers: IncomingMessage['headers']
  status: number
  /** Bytes of the body that were sent. */
  sent: number
  /** When it came, in milliseconds. */
  at: number
}

/** What goes wrong with the next requests that match. */
export interface Fault {
  /** How many; for ever where it is not said. */
  times?: number
  /** An error status. */
  status?: number
  headers?: Record<string, string>
  body?: string
  /** The connection breaks after so many bytes of the body. */
  cutAfter?: number
  /** Nothing more comes after so many bytes of the body. */
  stallAfter?: number
  /** Not even a head comes. */
  hang?: boolean
  /** Nor does the connection end well: the other side resets it. */
  reset?: boolean
  /** The byte at this place of the file is another. */
  corruptAt?: number
  /** The body, and its stated length, end so many bytes early. */
  short?: number
  /** Not more than this. */
  bytesPerSecond?: number
  /** Ranges are not heard of. */
  noRanges?: boolean
}

const PAGE = 5

/**
 * A hub on this machine that speaks the real one's protocol, and can be told to fail. Large files are redirected to
 * a second address, the CDN.
 */
export class Hub {
  /** Every request, in order. */
  readonly asked: Asked[] = []
  readonly repositories = new Map<string, Repository>()
  readonly #faults: { match: RegExp; fault: Fault }[] = []
  readonly #sockets = new Set<Socket>()
  #hub!: Server
  #cdn!: Server
  #scheme = 'http'

  static async start(options: { tls?: { key: string; cert: string } } = {}): Promise<Hub> {
    const hub = new Hub()
    const serve = (listener: RequestListener): Server =>
      options.tls ? createTlsServer(options.tls, listener) : createServer(listener)
    hub.#scheme = options.tls ? 'https' : 'http'
    hub.#hub = serve((request, response) => hub.#answer('hub', request, response))
    hub.#cdn = serve((request, response) => hub.#answer('cdn', request, response))
    for (const server of [hub.#hub, hub.#cdn]) {
      server.keepAliveTimeout = 60_000
      server.on('connection', (socket: Socket) => {
        hub.#sockets.add(socket)
        socket.on('error', () => {}).on('close', () => hub.#sockets.delete(socket))
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    }
    return hub
  }

  /** Its address. */
  get url(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`
  }

  get #cdnUrl(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#cdn.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all([this.#hub, this.#cdn].map((server) => new Promise((resolve) => server.close(resolve))))
  }

  /** Puts the files of a folder up as a commit, and `main` on it. `extra` are further files by path. */
  add(id: string, folder: string, commit: string, extra: Record<string, string> = {}): Map<string, HubFile> {
    const repository = this.repositories.get(id) ?? { commits: new Map(), refs: new Map() }
    const files = filesOf(folder)
    for (const [path, text] of Object.entries(extra)) files.set(path, hubFile(path, Buffer.from(text)))
    repository.commits.set(commit, files)
    repository.refs.set('main', commit)
    this.repositories.set(id, repository)
    return files
  }

  /** Lets the next requests whose `server method path` match fail. */
  fail(match: RegExp, fault: Fault): void {
    this.#faults.push({ match, fault })
  }

  /** All is well again. */
  heal(): void {
    this.#faults.length = 0
  }

  /** Requests whose `server method path` match. */
  count(match: RegExp = /./): number {
    return this.asked.filter((request) => match.test(nameOf(request))).length
  }

  /** Bytes of bodies that were sent to requests whose `server method path` match. */
  bytes(match: RegExp = /./): number {
    return this.asked.filter((request) => match.test(nameOf(request))).reduce((sum, { sent }) => sum + sent, 0)
  }

  #answer(server: Asked['server'], request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(request.url ?? '/')
    const { method, headers } = request
    const asked: Asked = { server, method: method!, path, headers, status: 0, sent: 0, at: performance.now() }
    this.asked.push(asked)
    response.on('error', () => {})
    const fault = this.#takeFault(nameOf(asked))
    if (fault.hang) return
    if (fault.reset) {
      request.socket.resetAndDestroy()
      return
    }
    if (fault.status !== undefined) {
      asked.status = fault.status
      response.writeHead(fault.status, fault.headers).end(fault.body)
      return
    }
    const route = server === 'cdn' ? this.#file(path.replace(/^\/cdn\//, '/')) : this.#route(asked)
    asked.status = route.status
    if (route.file) void this.#sendFile(asked, route.file, route.headers ?? {}, fault, response)
    else {
      const body = Buffer.from(route.body ?? '')
      response.writeHead(route.status, { 'content-length': body.length, ...route.headers })
      asked.sent = asked.method === 'HEAD' ? 0 : body.length
      response.end(asked.method === 'HEAD' ? undefined : body)
    }
  }

  #takeFault(name: string): Fault {
    for (const [index, { match, fault }] of this.#faults.entries()) {
      if (!match.test(name)) continue
      if (fault.times !== undefined && --fault.times === 0) this.#faults.splice(index, 1)
      return fault
    }
    return {}
  }

  #route({ path, headers }: Asked): Route {
    const url = new URL(path, 'http://hub')
    if (url.pathname === '/') return { status: 200, body: 'hub' }
    const api = /^\/api\/models\/(?<id>[^/]+\/[^/]+)(?:\/(?<what>revision|tree)\/(?<rev>.+))?$/.exec(
      url.pathname,
    )?.groups
    const file = /^\/(?<id>[^/]+\/[^/]+)\/resolve\/(?<rev>[^/]+)\/(?<file>.+)$/.exec(url.pathname)?.groups
    const cached = /^\/api\/resolve-cache\/models(?<rest>\/.+)$/.exec(url.pathname)?.groups
    if (cached) return this.#file(cached.rest!)
    const id = (api ?? file)?.id
    const repository = id === undefined ? undefined : this.repositories.get(id)
    const token = headers.authorization?.replace('Bearer ', '')
    if (!id || !repository) {
      // Who has no token is not told whether it is missing or private.
      return refusal(token ? 404 : 401, 'RepoNotFound', 'Repository not found')
    }
    const rev = (api ?? file)?.rev ?? 'main'
    const commit = repository.commits.has(rev) ? rev : repository.refs.get(rev)
    const files = commit === undefined ? undefined : repository.commits.get(commit)
    if (!commit || !files) return refusal(404, 'RevisionNotFound', `Invalid rev id: ${rev}`)
    if (api) return api.what === 'tree' ? tree(new URL(path, this.url), files) : info(id, commit, files)
    const { gate } = repository
    if (gate && token !== gate.token) {
      return refusal(token ? 403 : 401, gate.code ?? 'GatedRepo', `Access to model ${id} is restricted.`)
    }
    const found = files.get(file!.file!)
    if (!found) return refusal(404, 'EntryNotFound', 'Entry not found')
    const place = `/${id}/resolve/${commit}/${file!.file!}`
    return {
      status: found.lfs ? 302 : 307,
      headers: {
        'x-repo-commit': commit,
        ...(found.lfs
          ? {
              location: `${this.#cdnUrl}/cdn${encodeURI(place)}?X-Signature=signed-secret`,
              'x-linked-etag': `"${found.hash}"`,
              'x-linked-size': String(found.content.length),
              etag: `"${found.oid}"`,
            }
          : { location: `/api/resolve-cache/models${encodeURI(place)}?etag=${found.hash}`, etag: `"${found.hash}"` }),
      },
    }
  }

  /** The content itself, by the address of its `resolve`. */
  #file(path: string): Route {
    const { id, rev, file } = /^\/(?<id>[^/]+\/[^/]+)\/resolve\/(?<rev>[^/]+)\/(?<file>[^?]+)/.exec(path)?.groups ?? {}
    const found = this.repositories
      .get(id ?? '')
      ?.commits.get(rev ?? '')
      ?.get(file ?? '')
    if (!found) return refusal(404, 'EntryNotFound', 'Entry not found')
    return { status: 200, file: found, headers: { etag: `"${found.hash}"`, 'x-repo-commit': rev! } }
  }

  async #sendFile(
    asked: Asked,
    file: HubFile,
    headers: Record<string, string>,
    fault: Fault,
    response: ServerResponse,
  ): Promise<void> {
    let content = file.content
    if (fault.corruptAt !== undefined) {
      content = Buffer.from(content)
      content[fault.corruptAt]! ^= 1
    }
    if (fault.short !== undefined) content = content.subarray(0, content.length - fault.short)
    const range = fault.noRanges ? null : /^bytes=(\d+)-$/.exec(asked.headers.range ?? '')
    const from = range ? Number(range[1]) : 0
    if (range && from >= content.length) {
      asked.status = 416
      response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end()
      return
    }
    const body = content.subarray(from)
    asked.status = range ? 206 : 200
    response.writeHead(asked.status, {
      'content-length': body.length,
      'content-type': 'application/octet-stream',
      ...headers,
      ...(range ? { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` } : {}),
    })
    if (asked.method === 'HEAD') {
      response.end()
      return
    }
    const end = Math.min(body.length, fault.cutAfter ?? Infinity, fault.stallAfter ?? Infinity)
    const step = fault.bytesPerSecond === undefined ? 65_536 : Math.max(1, Math.round(fault.bytesPerSecond / 50))
    const closed = new Promise((resolve) => response.once('close', resolve))
    response.flushHeaders()
    for (let at = 0; at < end && !response.destroyed; at += step) {
      const part = body.subarray(at, Math.min(at + step, end))
      await Promise.race([new Promise((resolve) => response.write(part, resolve)), closed])
      asked.sent += part.length
      if (fault.bytesPerSecond !== undefined) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    // The system may still hold what was written: given a moment, it is on its way before the connection breaks.
    if (fault.cutAfter !== undefined) setTimeout(() => response.destroy(), 20)
    else if (fault.stallAfter === undefined) response.end()
  }
}

interface Route {
  status: number
  headers?: Record<string, string>
  body?: string
  file?: HubFile
}

function nameOf({ server, method, path }: Asked): string {
  return `${server} ${method} ${path}`
}

function refusal(status: number, code: string, message: string): Route {
  return {
    status,
    headers: { 'x-error-code': code, 'x-error-message': message, 'content-type': 'application/json' },
    body: JSON.stringify({ error: message }),
  }
}

function info(id: string, commit: string, files: Map<string, HubFile>): Route {
  const siblings = [...files.keys()].map((rfilename) => ({ rfilename }))
  return { status: 200, body: JSON.stringify({ id, modelId: id, sha: commit, private: false, siblings, tags: [] }) }
}

/** A page of the listing. */
function tree(url: URL, files: Map<string, HubFile>): Route {
  const begin = Number(url.searchParams.get('cursor') ?? 0)
  const all = [...files].map(([path, { content, lfs, hash, oid, listedSize }]) => {
    const size = listedSize ?? content.length
    return { type: 'file', oid, size, path, ...(lfs ? { lfs: { oid: hash, size, pointerSize: 134 } } : {}) }
  })
  const folders = [...new Set([...files.keys()].filter((path) => path.includes('/')).map((path) => path.split('/')[0]))]
  const entries = [...folders.map((path) => ({ type: 'directory', oid: '0'.repeat(40), size: 0, path })), ...all]
  const next = new URL(url)
  next.searchParams.set('cursor', String(begin + PAGE))
  const more = begin + PAGE < entries.length
  return {
    status: 200,
    body: JSON.stringify(entries.slice(begin, begin + PAGE)),
    headers: more ? { link: `<${next.href}>; rel="next"` } : {},
  }
}
