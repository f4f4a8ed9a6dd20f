import { forwardRef, useState } from 'react'

type Props = { label: string; onPress?: () => void }

/** A button that counts. */
export const Button = forwardRef<HTMLButtonElement, Props>(function Button({ label, onPress }, ref) {
  const [count, setCount] = useState(0)
  return (
    <button ref={ref} onClick={() => { setCount(count + 1); onPress?.() }}>
      {label} <b>{count}</b>
    </button>
  )
})

export function List<T,>({ items }: { items: T[] }) {
  return <ul>{items.map((item) => <li key={String(item)}>{String(item)}</li>)}</ul>
}
