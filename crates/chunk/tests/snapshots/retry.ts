#!/usr/bin/env node
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from './logger.js'

/** How often, and how long between. */
export interface RetryOptions {
  attempts: number
  delayMs: number
}

const DEFAULTS: RetryOptions = { attempts: 3, delayMs: 100 }

/**
 * Runs some work again until it succeeds.
 *
 * @param work what may fail
 * @throws what the last attempt threw
 */
export async function retry<T>(work: () => Promise<T>, options: Partial<RetryOptions> = {}): Promise<T> {
  const { attempts, delayMs } = { ...DEFAULTS, ...options }
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (attempt === attempts) throw error
      await sleep(delayMs * 2 ** attempt)
    }
  }
}

export abstract class Queue<T extends object> implements Iterable<T> {
  readonly #items: T[] = []
  static count = 0

  constructor(private readonly logger: Logger) {
    Queue.count += 1
  }

  /** How many wait. */
  get size(): number {
    return this.#items.length
  }

  abstract accepts(item: T): boolean

  @logged('push')
  push = (item: T): void => {
    this.#items.push(item)
  };

  *[Symbol.iterator](): Iterator<T> {
    yield* this.#items
  }
}

export type Work<T> = () => Promise<T>
export enum Level { Low, High }
export function overloaded(a: string): string
export function overloaded(a: number): number
export function overloaded(a: unknown): unknown {
  return a
}
declare module 'express' {
  interface Request {
    user?: string
  }
}
export default { name: 'queue', setup() { return new Map() } }
