// npm run pack:check: installs the packed tarballs into an empty project, as a user would, without Rust and without
// our development dependencies, and uses them there.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

import { ensureModels } from '../__test__/fixtures/make-models.mjs'
import { packAll } from './pack.mjs'
import { ROOT, SetupError, main } from './setup.mjs'

const onWindows = process.platform === 'win32'

/** One for each backend, beside the bundled one: ONNX Runtime last, which some platforms do not have. */
const MODELS = ['bert-mean', 'onnx-bert']

/** A package of the registry that nobody here wrote, with several thousand functions; what is asked, and what answers. */
const FOREIGN = {
  folder: join(ROOT, 'node_modules/apache-arrow'),
  functions: 3000,
  questions: [
    ['read record batches from a stream of bytes', /fromByteStream/i],
    ['compare two schemas for equality', /compareSchemas/],
    ['concatenate typed arrays into one buffer', /joinUint8Arrays/],
  ],
}

/** Only Node and the system's own tools: no cargo, and nothing that names our addon. */
function userEnvironment() {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(EMBEDDING_ENGINE_|CARGO|RUSTUP|npm_|NODE_OPTIONS|PATH$)/i.test(name),
  )
  const system = onWindows ? [join(process.env.SystemRoot, 'System32')] : ['/usr/local/bin', '/usr/bin', '/bin']
  return { ...Object.fromEntries(kept), PATH: [dirname(process.execPath), ...system].join(delimiter) }
}

function check(name, action) {
  try {
    const told = action()
    console.log(`[check] ✓ ${name}${told ? `: ${told}` : ''}`)
    return true
  } catch (error) {
    console.log(`[check] ✗ ${name}: ${error.stderr || error.stdout || error.message}`)
    return false
  }
}

function assert(condition, message) {
  if (!condition) throw new Error(message)
}

await main(async () => {
  const tarballs = await packAll()
  // After packAll, which compiles it.
  const { currentPlatform } = await import('../dist/lib/native/platform.js')
  const hasOnnx = currentPlatform().onnxRuntime !== undefined
  const names = hasOnnx ? MODELS : MODELS.slice(0, 1)
  const models = ensureModels({ names })
  // As modules tell it: macOS links its folder for temporary files, Windows may shorten it.
  const project = realpathSync.native(mkdtempSync(join(tmpdir(), 'embedding-engine-user-')))
  const env = userEnvironment()
  const run = (command, ...args) =>
    execFileSync(command, args, { cwd: project, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const node = (source, ...flags) => run(process.execPath, ...flags, '--eval', source).trim()
  // npm itself, where it started this: on Windows its command is a script that needs a shell.
  const npm = (...args) =>
    process.env.npm_execpath ? run(process.execPath, process.env.npm_execpath, ...args) : run('npm', ...args)
  const cli = (...args) =>
    onWindows
      ? run(process.execPath, join(project, 'node_modules/embedding-engine/dist/lib/cli/main.js'), ...args)
      : run(join(project, 'node_modules/.bin/embedding-engine'), ...args)

  try {
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'user', private: true, type: 'module' }))
    const results = [
      check('install', () => {
        npm('install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel', 'error', ...tarballs)
        return readdirSync(join(project, 'node_modules'))
          .filter((name) => !name.startsWith('.'))
          .join(', ')
      }),
      check('import', () =>
        node(
          `const begin = performance.now()
          const { version } = await import('embedding-engine')
          console.log(version, 'in', (performance.now() - begin).toFixed(0), 'ms')`,
          '--input-type=module',
        ),
      ),
      check('require', () => node("console.log(require('embedding-engine').version)", '--input-type=commonjs')),
      ...names.map((name) =>
        check(`embed with ${name}`, () =>
          node(
            `import { embed } from 'embedding-engine'
            const { embedding, model } = await embed('Hello', { model: ${JSON.stringify(join(models, name))} })
            const norm = Math.hypot(...embedding)
            if (Math.abs(norm - 1) > 1e-5) throw new Error('norm ' + norm)
            console.log(model.backend, embedding.length)`,
            '--input-type=module',
          ),
        ),
      ),
      check('embedding-engine/train', () => {
        mkdirSync(join(project, 'code'))
        writeFileSync(
          join(project, 'code', 'a.py'),
          'def lines(path):\n    """Reads the lines of a file."""\n    with open(path) as file:\n        return [line.strip() for line in file if line != path]\n',
        )
        return node(
          `import { evaluate } from 'embedding-engine/train'
          const { queries, rows } = await evaluate({ folder: 'code', model: ${JSON.stringify(join(models, MODELS[0]))} })
          if (queries !== 1 || rows.length !== 10) throw new Error(queries + ' queries, ' + rows.length + ' rows')
          console.log(rows.length, 'rows')`,
          '--input-type=module',
        )
      }),
      check('embed with no model named, without a network', () =>
        node(
          `import { EmbeddingEngine } from 'embedding-engine'
          const engine = new EmbeddingEngine({ offline: true, cacheDir: './nothing', home: './home' })
          const { embedding, model } = await engine.embed('Hello')
          const norm = Math.hypot(...embedding)
          if (Math.abs(norm - 1) > 1e-5) throw new Error('norm ' + norm)
          console.log(model.id, model.backend, embedding.length)`,
          '--input-type=module',
        ),
      ),
      check('search in a package of the registry', () => {
        const told = node(
          `import { chunkFiles, openIndex } from 'embedding-engine'
          const folder = ${JSON.stringify(FOREIGN.folder)}
          let functions = 0
          for await (const { chunks } of chunkFiles(folder))
            functions += chunks.filter(({ kind }) => kind === 'function' || kind === 'method').length
          const index = await openIndex(folder, { store: './foreign.db' })
          const begin = performance.now()
          const { files, chunks, tokens } = await index.update()
          const seconds = (performance.now() - begin) / 1000
          const again = await index.update()
          const found = []
          for (const question of ${JSON.stringify(FOREIGN.questions.map(([question]) => question))})
            found.push((await index.query(question, { top: 10 })).map(({ name }) => name))
          await index.close()
          console.log(JSON.stringify({ functions, files, chunks, tokens, seconds, again, found }))`,
          '--input-type=module',
        )
        const { functions, files, chunks, tokens, seconds, again, found } = JSON.parse(told)
        assert(functions >= FOREIGN.functions, `${functions} functions`)
        assert(again.embedded === 0 && again.unchanged === files, `the second update did ${JSON.stringify(again)}`)
        for (const [at, [question, name]] of FOREIGN.questions.entries())
          assert(
            found[at].some((hit) => name.test(hit)),
            `"${question}" found ${found[at].join(', ')}`,
          )
        return `${files} files, ${functions} functions, ${chunks} chunks, ${tokens} tokens in ${seconds.toFixed(1)} s`
      }),
      check('command line: search', () => {
        const { hits } = JSON.parse(
          cli('search', FOREIGN.questions[1][0], FOREIGN.folder, '--store', 'foreign.db', '--json'),
        )
        assert(hits.length > 0 && hits[0].startLine > 0, 'no hits')
        return `${hits[0].path}:${hits[0].startLine}`
      }),
      check('command line: embed', () => {
        const line = JSON.parse(cli('embed', 'Hello', '--model', join(models, MODELS[0])))
        assert(line.embedding.length > 0, 'no embedding')
      }),
      check('command line: doctor', () => {
        const { ok, addon, onnxRuntime } = JSON.parse(cli('doctor', '--json', '--model', join(models, names.at(-1))))
        assert(ok, 'not ok')
        for (const path of hasOnnx ? [addon.path, onnxRuntime.path] : [addon.path])
          assert(path.startsWith(join(project, 'node_modules')), `${path} is not in the project`)
        return addon.path.slice(project.length + 1)
      }),
      check('types', () => {
        writeFileSync(
          join(project, 'user.ts'),
          `import { embed, embedBatch } from 'embedding-engine'
          import type { CallOptions } from 'embedding-engine'
          import { evaluate } from 'embedding-engine/train'
          import type { EvaluateOptions } from 'embedding-engine/train'
          const options: EvaluateOptions & Pick<CallOptions, 'model'> = { folder: '.' }
          export const ndcg: number = (await evaluate(options)).rows[0]!.metrics.ndcg10.value
          const { embedding } = await embed('a')
          export const floats: Float32Array = embedding
          export const bytes: Int8Array = (await embedBatch(['a'], { precision: 'int8' })).data
          // @ts-expect-error there is no such option
          await embed('a', { dimension: 3 })
          `,
        )
        const flags = '--noEmit --strict --target es2022 --module nodenext --types --isolatedModules user.ts'.split(' ')
        run(process.execPath, join(ROOT, 'node_modules/typescript/bin/tsc'), ...flags)
      }),
    ]
    const failed = results.filter((passed) => !passed).length
    console.log(`checks: ${results.length - failed} passed, ${failed} failed`)
    if (failed > 0) throw new SetupError('The packed package does not work: see ✗ above.')
  } finally {
    rmSync(project, { recursive: true, force: true })
  }
})
