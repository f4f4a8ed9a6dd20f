import { InvalidArgumentError } from 'commander'

/** Reads a whole number above 0. */
export function wholeNumber(value: string): number {
  const number = Number(value)
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number) || number < 1) {
    throw new InvalidArgumentError('It must be a whole number above 0.')
  }
  return number
}
