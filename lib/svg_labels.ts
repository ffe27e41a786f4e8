/**
 * Places labels along a line so that none covers another, and no line that leads to one crosses
 * another. Pure.
 *
 * @module
 */

/** A label that belongs to a place along a line. */
export interface Label {
  readonly x: number;
  readonly width: number;
}

/** A label with its place: in rows away from the line, 0 the nearest. */
export interface PlacedLabel<T extends Label> {
  readonly label: T;
  readonly row: number;
  /** Whether its text begins at `x`; else it ends there. */
  readonly isRight: boolean;
}

interface Box {
  readonly from: number;
  readonly to: number;
  readonly x: number;
  readonly row: number;
}

const gap = 8;
const rowsMax = 40;

function isFree(box: Box, placed: readonly Box[]): boolean {
  return placed.every((other) => {
    if (other.row === box.row) return box.to + gap <= other.from || other.to + gap <= box.from;
    const [nearer, farther] = other.row < box.row ? [other, box] : [box, other];
    return farther.x < nearer.from - gap / 2 || farther.x > nearer.to + gap / 2;
  });
}

/**
 * Places labels between 0 and `length`, each in the nearest free row. Those whose text begins at
 * their place come last first, those whose text ends there first first: so lines pass beside texts.
 */
export function placeLabels<T extends Label>(
  labels: readonly T[],
  length: number,
): readonly PlacedLabel<T>[] {
  const boxes: Box[] = [];
  const sided = labels.map((label) => ({
    label,
    isRight: label.x + label.width <= length || label.x - label.width < 0,
  }));
  const ordered = [
    ...sided.filter(({ isRight }) => !isRight).sort((a, b) => a.label.x - b.label.x),
    ...sided.filter(({ isRight }) => isRight).sort((a, b) => b.label.x - a.label.x),
  ];
  return ordered.map(({ label, isRight }) => {
    const { x, width } = label;
    const [from, to] = isRight ? [x, x + width] : [x - width, x];
    let row = 0;
    while (row < rowsMax && !isFree({ from, to, x, row }, boxes)) row += 1;
    // Where lines have to cross, the farthest row is the one that covers nothing.
    if (row === rowsMax) row = 1 + Math.max(...boxes.map((box) => box.row));
    boxes.push({ from, to, x, row });
    return { label, row, isRight };
  });
}
